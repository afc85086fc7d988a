// The C interface: files, errors, and the choice of instructions.
#include "etn/etn.h"

#include <string>

#include "driver.hpp"

struct etn_potential {
  etn::ModelFile file;
  std::unique_ptr<Driver> driver;
  const char* target = "";

  explicit etn_potential(etn::Stored stored) : file(std::move(stored)) {}
};

namespace {

thread_local std::string message;

// Runs a task and keeps what goes wrong in words.
template <class Task>
int guarded(const Task& task) {
  try {
    return task(), 0;
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "an error of unknown kind";
  }
  return 1;
}

struct Target {
  const char* name;
  MakeDriver make;
};

Target best() {
#if defined(ETN_WITH_V4)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return {"x86-64-v4", make_v4};
#endif
#if defined(ETN_WITH_V3)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {"x86-64-v3", make_v3};
#endif
  return {"generic", make_generic};
}

template <class Read>
etn_potential* opened(const Read& read, const std::string& where, int precision) {
  etn_potential* made = nullptr;
  guarded([&] {
    if (precision != 64 && precision != 32) throw etn::Error("precision: expected 64 or 32");
    try {
      std::unique_ptr<etn_potential> potential(new etn_potential(read()));
      const Target target = best();
      potential->driver = target.make(potential->file, precision);
      potential->target = target.name;
      made = potential.release();
    } catch (const etn::Error& error) {
      throw etn::Error(where + error.what());
    }
  });
  return made;
}

}  // namespace

extern "C" {

int etn_abi_version(void) { return ETN_ABI_VERSION; }

const char* etn_error(void) { return message.c_str(); }

etn_potential* etn_open(const char* path, int precision) {
  return opened([&] { return etn::Stored::read(path); }, std::string(path) + ": ", precision);
}

etn_potential* etn_read(const char* content, int64_t size, int precision) {
  return opened([&] { return etn::Stored::of(std::string(content, std::size_t(size))); }, "",
                precision);
}

void etn_close(etn_potential* potential) { delete potential; }

int etn_n_elements(const etn_potential* potential) { return int(potential->file.elements.size()); }

const char* etn_element(const etn_potential* potential, int number) {
  return potential->file.elements[std::size_t(number)].c_str();
}

double etn_r_max(const etn_potential* potential) { return potential->file.r_max; }

double etn_operations(const etn_potential* potential, double neighbors) {
  return potential->driver->operations(neighbors);
}

const char* etn_target(const etn_potential* potential) { return potential->target; }

int etn_evaluate(const etn_potential* potential, const etn_neighbors* neighbors, int threads,
                 double* energies, double* forces, double* strain) {
  return guarded(
      [&] { potential->driver->evaluate(*neighbors, threads, energies, forces, strain); });
}

int etn_has_grades(const etn_potential* potential) { return potential->file.has_grades(); }

int etn_grades(const etn_potential* potential, const etn_neighbors* neighbors, int threads,
               double* grades) {
  return guarded([&] { potential->driver->grades(*neighbors, threads, grades); });
}

int64_t etn_columns(const etn_potential* potential, int site) {
  int64_t found = -1;
  guarded([&] { found = potential->driver->columns(potential->file, site); });
  return found;
}

int etn_rows(const etn_potential* potential, const etn_neighbors* neighbors, int site,
             const etn_rows_wanted* wanted, const double* weights, double* rows) {
  return guarded(
      [&] { potential->driver->rows(potential->file, *neighbors, site, *wanted, weights, rows); });
}

int etn_pull(const etn_potential* potential, const etn_neighbors* neighbors, int site,
             const etn_rows_wanted* wanted, const double* weights, double* sum) {
  return guarded(
      [&] { potential->driver->pull(potential->file, *neighbors, site, *wanted, weights, sum); });
}

}  // extern "C"
