// pair_style etn: polynomial potentials of etn in LAMMPS.
//
//   pair_style etn [float64|float32] [gamma]
//   pair_coeff * * model.etn Mo Nb NULL        an element, or NULL, for each type of atom
//   fix ID all pair N etn gamma 1              extrapolation grades every N steps, with `gamma`
//
// Written against the interface that LAMMPS documents for pair styles and plugins; it is compiled
// with the headers of the LAMMPS that loads it, see `etn lammps`.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "lammps.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "update.h"

#include "etn/evaluator.hpp"
#include "etn/grades.hpp"

#ifndef ETN_LAMMPS_VERSION
#error "ETN_LAMMPS_VERSION: expected the version of LAMMPS that this is compiled for"
#endif

namespace LAMMPS_NS {

class PairEtn : public Pair {
 public:
  explicit PairEtn(LAMMPS* lmp) : Pair(lmp) {
    single_enable = 0;
    restartinfo = 0;
    one_coeff = 1;
    manybody_flag = 1;
    // Each atom holds the stress of its own energy.
    centroidstressflag = CENTROID_NOTAVAIL;
  }

  ~PairEtn() override {
    if (!allocated) return;
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }

  void settings(int narg, char** arg) override {
    // As units cannot be changed afterwards.
    if (std::strcmp(update->unit_style, "metal") != 0)
      error->all(FLERR,
                 "pair_style etn: expected `units metal`, as potentials of etn are in eV and "
                 "angstrom, got `units {}`",
                 update->unit_style);
    single_ = wants_gamma_ = false;
    for (int k = 0; k < narg; ++k) {
      const std::string word = arg[k];
      if (word == "gamma")
        wants_gamma_ = true;
      else if (word == "float64" || word == "float32")
        single_ = word == "float32";
      else
        error->all(FLERR, "pair_style etn: expected float64, float32 or gamma, got {}", word);
    }
    // LAMMPS keeps the object where the style is named again: no model until the next pair_coeff.
    for (int i = 1; allocated && i <= atom->ntypes; ++i)
      for (int j = i; j <= atom->ntypes; ++j) setflag[i][j] = 0;
    of_type_.assign(of_type_.size(), -1);
  }

  void coeff(int narg, char** arg) override {
    const int n = atom->ntypes;
    if (!allocated) {
      allocated = 1;
      memory->create(setflag, n + 1, n + 1, "pair:setflag");
      memory->create(cutsq, n + 1, n + 1, "pair:cutsq");
    }
    if (narg != 3 + n || std::strcmp(arg[0], "*") != 0 || std::strcmp(arg[1], "*") != 0)
      error->all(
          FLERR,
          "pair_coeff: expected `* * MODEL` and an element or NULL for each of the {} types of "
          "atoms, got {} words",
          n, narg);
    // Every process reads the file, which takes some milliseconds.
    try {
      const etn::ModelFile file{etn::Stored::read(arg[2])};
      double64_.reset(), double32_.reset();
      if (single_)
        double32_ = std::make_unique<Model<float>>(file, wants_gamma_);
      else
        double64_ = std::make_unique<Model<double>>(file, wants_gamma_);
      closest_ = etn::Coverage(file).closest;
      elements_ = file.elements;
      r_max_ = file.r_max;
    } catch (const std::exception& problem) {
      // It may be one process alone that cannot read it.
      error->one(FLERR, "pair_coeff: {}: {}", arg[2], problem.what());
    }
    nearest_.assign(closest_.size(), 2 * r_max_);
    has_warned_ = false;
    of_type_.assign(std::size_t(n) + 1, -1);
    for (int type = 1; type <= n; ++type) {
      const std::string symbol = arg[2 + type];
      if (symbol == "NULL") {
        if (force->pair == this)
          error->all(FLERR,
                     "pair_coeff: type {} is NULL, and there is no other style for it: give its "
                     "element, or use pair_style hybrid",
                     type);
        continue;
      }
      const auto found = std::find(elements_.begin(), elements_.end(), symbol);
      if (found == elements_.end()) {
        std::string known;
        for (const std::string& each : elements_) known += " " + each;
        error->all(FLERR, "pair_coeff: type {} is {}, which {} does not know; it knows{}", type,
                   symbol, arg[2], known);
      }
      of_type_[std::size_t(type)] = int(found - elements_.begin());
    }
    for (int i = 1; i <= n; ++i)
      for (int j = i; j <= n; ++j)
        setflag[i][j] = of_type_[std::size_t(i)] >= 0 && of_type_[std::size_t(j)] >= 0;
  }

  void init_style() override {
    if (!force->newton_pair)
      error->all(
          FLERR,
          "pair_style etn: expected `newton on`, as atoms pull their neighbours, got `newton "
          "off`: remove it, or the package or suffix that sets it");
    neighbor->add_request(this, 1);  // full lists
  }

  double init_one(int i, int j) override {
    if (setflag[i][j] == 0) {
      if (of_type_[std::size_t(i)] >= 0 && of_type_[std::size_t(j)] >= 0)
        error->all(FLERR, "pair_style etn: no pair_coeff for types {} and {}", i, j);
      return 0.0;
    }
    return r_max_;
  }

  void compute(int eflag, int vflag) override {
    ev_init(eflag, vflag);
    has_gamma_ = gamma_flag_ != 0;
    if (has_gamma_) gamma_.assign(std::size_t(std::max(atom->nmax, 1)), 0.0);
    if (single_)
      compute_with(*double32_);
    else
      compute_with(*double64_);
    if (vflag_fdotr) virial_fdotr_compute();
    if (!closest_.empty() && !has_warned_) warn_of_close_atoms();
  }

  // What `fix pair` asks for: a switch that it sets on the steps of which it wants grades ...
  void* extract(const char* name, int& dim) override {
    if (std::strcmp(name, "gamma_flag") != 0) return nullptr;
    if (!wants_gamma_)
      error->all(FLERR,
                 "fix pair: expected `pair_style etn gamma`, got a style without that word, which "
                 "has no grades");
    dim = 0;
    return &gamma_flag_;
  }

  // ... and those of the last step; none if it was not set.
  void* extract_peratom(const char* name, int& columns) override {
    if (std::strcmp(name, "gamma") != 0) return nullptr;
    columns = 0;
    return has_gamma_ ? gamma_.data() : nullptr;
  }

 private:
  template <class T>
  struct Model {
    etn::Evaluator<T> evaluator;
    std::unique_ptr<etn::Grades<T>> grades;

    Model(const etn::ModelFile& file, bool gamma) : evaluator(file) {
      if (gamma) grades = std::make_unique<etn::Grades<T>>(file);
    }
  };

  template <class T>
  void compute_with(const Model<T>& model) {
    using V = etn::Vec<T>;
    static constexpr int width = etn::Evaluator<T>::width;
    static thread_local typename etn::Grades<T>::Scratch scratch;
    const etn::Evaluator<T>& evaluator = model.evaluator;
    double** const x = atom->x;
    double** const f = atom->f;
    const int* const type = atom->type;
    // Atoms by element, so that those of a block have the same.
    by_element_.resize(elements_.size());
    for (auto& atoms : by_element_) atoms.clear();
    for (int k = 0; k < list->inum; ++k) {
      const int i = list->ilist[k], element = of_type_[std::size_t(type[i])];
      if (element >= 0) by_element_[std::size_t(element)].push_back(i);
    }
    double energies[width], grades[width], virial_of[6];
    std::vector<V> nearest(elements_.size());
    for (std::size_t element = 0; element < by_element_.size(); ++element) {
      const std::vector<int>& atoms = by_element_[element];
      nearest.assign(elements_.size(), etn::all<T>(T(2 * r_max_)));
      for (std::size_t first = 0; first < atoms.size(); first += std::size_t(width)) {
        const int count = int(std::min(std::size_t(width), atoms.size() - first));
        const int* const own = atoms.data() + first;
        evaluator.block(
            int(element), count, scratch,
            [&](int lane, const auto& add) {
              const int i = own[lane];
              const double* const here = x[i];
              const int* const neighbors = list->firstneigh[i];
              for (int k = 0; k < list->numneigh[i]; ++k) {
                const int j = neighbors[k] & NEIGHMASK;
                add(of_type_[std::size_t(type[j])], x[j][0] - here[0], x[j][1] - here[1],
                    x[j][2] - here[2], j, k);
              }
            },
            [&](int lane, long j, long, const double* p, const double* d) {
              double *mine = f[own[lane]], *other = f[j];
              for (int a = 0; a < 3; ++a) mine[a] += p[a], other[a] -= p[a];
              if (!vflag_either || (!vflag_atom && vflag_fdotr)) return;
              const int axes[6][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}};
              for (int v = 0; v < 6; ++v) virial_of[v] = -d[axes[v][0]] * p[axes[v][1]];
              if (vflag_global && !vflag_fdotr)
                for (int v = 0; v < 6; ++v) virial[v] += virial_of[v];
              if (vflag_atom)
                for (int v = 0; v < 6; ++v) vatom[own[lane]][v] += virial_of[v];
            },
            energies);
        for (int lane = 0; lane < count; ++lane) {
          if (!std::isfinite(energies[lane]))
            error->one(FLERR,
                       "pair_style etn: step {}: the energy of atom {} is no number: another one "
                       "coincides with it, or a position is no number; look at the structure, or "
                       "take a shorter timestep",
                       update->ntimestep, atom->tag ? atom->tag[own[lane]] : own[lane] + 1);
          if (eflag_global) eng_vdwl += energies[lane];
          if (eflag_atom) eatom[own[lane]] += energies[lane];
        }
        for (std::size_t z = 0; z < nearest.size(); ++z)
          nearest[z] = etn::smaller(scratch.nearest[z], nearest[z]);
        if (!has_gamma_) continue;
        model.grades->block(evaluator, int(element), count, scratch, grades);
        for (int lane = 0; lane < count; ++lane) gamma_[std::size_t(own[lane])] = grades[lane];
      }
      if (closest_.empty()) continue;
      for (std::size_t z = 0; z < nearest.size(); ++z)
        for (int lane = 0; lane < width; ++lane) {
          double& least = nearest_[element * nearest.size() + z];
          least = std::min(least, double(nearest[z][lane]));
        }
    }
  }

  // Says once that atoms came closer than any of the training data.  Only the first process is
  // heard, and all meet when lists are built: what happened since then is told there.
  void warn_of_close_atoms() {
    if (comm->nprocs > 1 && neighbor->ago != 0) return;
    std::vector<double> of_all(nearest_);
    MPI_Allreduce(nearest_.data(), of_all.data(), int(nearest_.size()), MPI_DOUBLE, MPI_MIN, world);
    // A distance of the data may have lost some digits on its way here.
    double least = 1 - 1e-6;
    std::size_t pair = nearest_.size();
    for (std::size_t k = 0; k < of_all.size(); ++k) {
      const double ratio = of_all[k] / (closest_[k] > 0 ? closest_[k] : r_max_);
      if (ratio < least) least = ratio, pair = k;
    }
    if (pair == nearest_.size()) return;
    has_warned_ = true;
    if (comm->me != 0) return;
    const std::string &one = elements_[pair / elements_.size()],
                      &two = elements_[pair % elements_.size()];
    if (closest_[pair] > 0)
      error->warning(FLERR,
                     "pair_style etn: {} and {} are {:.3f} Angstrom apart, closer than in the "
                     "training data, where {:.3f} is the shortest distance of the two; "
                     "this is said once",
                     one, two, of_all[pair], closest_[pair]);
    else
      error->warning(FLERR,
                     "pair_style etn: {} and {} are {:.3f} Angstrom apart; in the training data "
                     "they never met within {:.3f}; this is said once",
                     one, two, of_all[pair], r_max_);
  }

  bool single_ = false;
  double r_max_ = 0;
  std::vector<std::string> elements_;
  std::vector<int> of_type_;
  std::vector<std::vector<int>> by_element_;
  std::unique_ptr<Model<double>> double64_;
  std::unique_ptr<Model<float>> double32_;
  bool wants_gamma_ = false, has_gamma_ = false, has_warned_ = false;
  int gamma_flag_ = 0;
  std::vector<double> gamma_;
  std::vector<double> closest_,
      nearest_;  // distances of two elements: in the data, and so far here
};

}  // namespace LAMMPS_NS

// What LAMMPS documents of plugins.
extern "C" {

typedef void* (*etn_plugin_factory)(LAMMPS_NS::LAMMPS*);

struct etn_plugin {
  const char *version, *style, *name, *info, *author;
  union {
    etn_plugin_factory v1;
    void* (*v2)(LAMMPS_NS::LAMMPS*, int, char**);
  } creator;
  void* handle;
};

static void* make_pair_etn(LAMMPS_NS::LAMMPS* lmp) {
  return static_cast<LAMMPS_NS::Pair*>(new LAMMPS_NS::PairEtn(lmp));
}

__attribute__((visibility("default"))) void lammpsplugin_init(void* lmp, void* handle,
                                                              void* enter) {
  auto* const lammps = static_cast<LAMMPS_NS::LAMMPS*>(lmp);
  // Classes of another version have other layouts, and nothing else would tell.
  if (std::strcmp(lammps->version, ETN_LAMMPS_VERSION) != 0) {
    lammps->error->warning(
        FLERR,
        "pair_style etn was built for LAMMPS {}, this one is {}: it is not there; "
        "build it again with `etn lammps build`",
        ETN_LAMMPS_VERSION, lammps->version);
    return;
  }
  etn_plugin plugin;
  plugin.version = ETN_LAMMPS_VERSION;
  plugin.style = "pair";
  plugin.name = "etn";
  plugin.info = "polynomial potentials of etn";
  plugin.author = "the etn developers";
  plugin.creator.v1 = make_pair_etn;
  plugin.handle = handle;
  using Enter = void (*)(etn_plugin*, void*);
  reinterpret_cast<Enter>(enter)(&plugin, lmp);
}
}
