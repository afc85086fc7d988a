/* The C interface of the evaluator: polynomial potentials of etn in any program.
 *
 * All arrays are contiguous and owned by the caller. Functions return 0, or 1 after an error, which
 * etn_error() puts in words; it is that of the calling thread. */
#ifndef ETN_H
#define ETN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ETN_ABI_VERSION 3

#if defined(ETN_BUILD) && defined(__GNUC__)
#define ETN_API __attribute__((visibility("default")))
#else
#define ETN_API
#endif

typedef struct etn_potential etn_potential;

/* Lists of neighbours, both ways: a pair stands in the list of each of its atoms. */
typedef struct {
  int64_t n_atoms, n_centers, n_frames;
  const int32_t *element;  /* (n_atoms): number of the element in the potential */
  const int32_t *frame;    /* (n_atoms): of n_frames; what strain derivatives are summed over */
  const int64_t *center;   /* (n_centers): atoms whose energies are wanted */
  const int64_t *first;    /* (n_centers + 1): where the neighbours of a center begin */
  const int64_t *neighbor; /* (pairs): atoms */
  /* Where the neighbours are: (pairs, 3) vectors to them from their centers or, where that is null,
   * what to add to position[neighbor] - position[center]; angstrom. Pairs may be farther apart than
   * the radius of the potential. */
  const double *vector;
  const double *position; /* (n_atoms, 3) */
  const double *shift;    /* (pairs, 3) */
} etn_neighbors;

ETN_API int etn_abi_version(void);
ETN_API const char *etn_error(void);

/* Read a model file, or its content. precision: 64 or 32 bits. */
ETN_API etn_potential *etn_open(const char *path, int precision);
ETN_API etn_potential *etn_read(const char *content, int64_t size, int precision);
ETN_API void etn_close(etn_potential *potential);

ETN_API int etn_n_elements(const etn_potential *potential);
ETN_API const char *etn_element(const etn_potential *potential, int number);
ETN_API double etn_r_max(const etn_potential *potential);
/* Multiply-adds of an atom with so many neighbours, and the instructions in use. */
ETN_API double etn_operations(const etn_potential *potential, double neighbors);
ETN_API const char *etn_target(const etn_potential *potential);

/* energies (n_centers), eV; forces (n_atoms, 3), eV/angstrom; strain (n_frames, 3, 3), eV: dE/d
 * epsilon. The same bits whatever the number of threads. The energy of a center is not
 * finite where a neighbour coincides with it, or the vector to one is no number. */
ETN_API int etn_evaluate(const etn_potential *potential, const etn_neighbors *neighbors,
                         int threads, double *energies, double *forces, double *strain);

/* Whether the file holds what extrapolation grades need; those of the centers, (n_centers): up to
 * about 1 between the training atoms, above 10 far beyond them, and no number where atoms
 * coincide. */
ETN_API int etn_has_grades(const etn_potential *potential);
ETN_API int etn_grades(const etn_potential *potential, const etn_neighbors *neighbors, int threads,
                       double *grades);

/* Rows of the design of a core of the chain: how answers depend on its entries, the other cores
 * being fixed. */
typedef struct {
  int32_t energy, strain; /* whether frames have rows of energies, of strain derivatives */
  int64_t n_atoms;        /* whose forces have rows */
  const int64_t *atom;
} etn_rows_wanted;

/* Entries of the core at a site: the columns of its design. Negative after an error. */
ETN_API int64_t etn_columns(const etn_potential *potential, int site);
/* rows (n_rows, columns): the energy of each frame, counted from atoms without neighbours; the three
 * force components of each atom; dE/d epsilon of each frame in Voigt order (xx yy zz yz xz xy).
 * Columns run over the degrees of the leg and for each over (n, block, a, c). weights: of the rows,
 * or null. precision 64 only. */
ETN_API int etn_rows(const etn_potential *potential, const etn_neighbors *neighbors, int site,
                     const etn_rows_wanted *wanted, const double *weights, double *rows);
/* sum (columns): of these rows times weights (n_rows), at the cost of a few evaluations. */
ETN_API int etn_pull(const etn_potential *potential, const etn_neighbors *neighbors, int site,
                     const etn_rows_wanted *wanted, const double *weights, double *sum);

#ifdef __cplusplus
}
#endif
#endif
