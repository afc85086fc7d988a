// The evaluator for one target: compiled once for each, with ETN_TARGET its name.
#include <array>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "driver.hpp"
#include "etn/evaluator.hpp"
#include "etn/grades.hpp"
#include "etn/pull.hpp"
#include "etn/rows.hpp"

#define ETN_JOIN(a, b) a##b
#define ETN_NAME(a, b) ETN_JOIN(a, b)

namespace {

// The vector from a center to its neighbour number `at`.
std::array<double, 3> displacement(const etn_neighbors& lists, long center, long at) {
  if (const double* d = lists.vector) return {{d[3 * at], d[3 * at + 1], d[3 * at + 2]}};
  const double *from = lists.position + 3 * center, *to = lists.position + 3 * lists.neighbor[at];
  const double* shift = lists.shift + 3 * at;
  return {{to[0] - from[0] + shift[0], to[1] - from[1] + shift[1], to[2] - from[2] + shift[2]}};
}

// Runs task(k) for k = 0..n-1, each by one of the threads.
template <class Task>
void share(long n, int threads, const Task& task) {
  std::atomic<long> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  const auto work = [&] {
    try {
      for (long k; (k = next++) < n;) task(k);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(guard);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads && t < n; ++t) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

template <class T>
class Lists final : public Driver {
 public:
  static constexpr int width = etn::Evaluator<T>::width;

  explicit Lists(const etn::ModelFile& file) : evaluator_(file) {
    if (file.has_grades()) grades_ = std::make_unique<etn::Grades<T>>(file);
  }

  double operations(double neighbors) const override { return evaluator_.operations(neighbors); }

  void evaluate(const etn_neighbors& lists, int threads, double* energies, double* forces,
                double* strain) const override {
    // Each pair has a place of its own, so that sums over them do not depend on who was first.
    std::vector<double> pulls(std::size_t(3 * lists.first[lists.n_centers]), 0.0);
    each_block(lists, threads, [&](const Range& range, const long* atoms) {
      thread_local typename etn::Evaluator<T>::Scratch scratch;
      double own[width];
      evaluator_.block(
          range.element, range.atoms, scratch, visitor(lists, atoms),
          [&](int, long, long at, const double* pulled, const double*) {
            std::copy(pulled, pulled + 3, pulls.data() + 3 * at);
          },
          own);
      for (int lane = 0; lane < range.atoms; ++lane) energies[atoms[lane]] = own[lane];
    });
    std::fill(forces, forces + 3 * lists.n_atoms, 0.0);
    std::fill(strain, strain + 9 * lists.n_frames, 0.0);
    for (long i = 0; i < lists.n_centers; ++i) {
      const long atom = lists.center[i];
      double* own = strain + 9 * lists.frame[atom];
      double sum[3] = {};
      for (long at = lists.first[i]; at < lists.first[i + 1]; ++at) {
        const double* p = pulls.data() + 3 * at;
        if (p[0] == 0 && p[1] == 0 && p[2] == 0) continue;
        const auto d = displacement(lists, atom, at);
        double* other = forces + 3 * lists.neighbor[at];
        for (int a = 0; a < 3; ++a) {
          sum[a] += p[a], other[a] -= p[a];
          for (int b = 0; b < 3; ++b) own[3 * a + b] += p[a] * d[std::size_t(b)];
        }
      }
      for (int a = 0; a < 3; ++a) forces[3 * atom + a] += sum[a];
    }
  }

  void grades(const etn_neighbors& lists, int threads, double* grades) const override {
    if (!grades_) throw etn::Error("the potential has no extrapolation grades");
    each_block(lists, threads, [&](const Range& range, const long* atoms) {
      thread_local typename etn::Grades<T>::Scratch scratch;
      double own[width];
      evaluator_.features(range.element, range.atoms, scratch, visitor(lists, atoms));
      grades_->block(evaluator_, range.element, range.atoms, scratch, own);
      for (int lane = 0; lane < range.atoms; ++lane) grades[atoms[lane]] = own[lane];
    });
  }

  long columns(const etn::ModelFile& file, int site) const override {
    long count = 0;
    if (site < 0 || site >= int(file.cores.size()))
      throw etn::Error("site: expected one of the chain");
    for (const etn::Block& block : file.cores[std::size_t(site)])
      count += long(block.multiplicities[0]) * block.multiplicities[1] * block.multiplicities[2];
    return count;
  }

  void rows(const etn::ModelFile& file, const etn_neighbors& lists, int site,
            const etn_rows_wanted& wanted, const double* weights, double* out) const override {
    if constexpr (std::is_same<T, double>::value) {
      const etn::Design<T> design(file, evaluator_, std::size_t(site));
      thread_local etn::Pool<T> pool;
      pool.clear();
      etn::DesignRows<T> rows(evaluator_, design, lists, wanted, pool);
      std::vector<long> order;
      for (const Range& range : blocks(lists, order)) {
        const long* atoms = order.data() + range.first;
        rows.take(range.element, range.atoms, atoms, visitor(lists, atoms));
      }
      rows.write(weights, out);
    } else {
      throw etn::Error("precision: expected 64 for rows");
    }
  }

  void pull(const etn::ModelFile& file, const etn_neighbors& lists, int site,
            const etn_rows_wanted& wanted, const double* weights, double* out) const override {
    if constexpr (std::is_same<T, double>::value) {
      etn::Pull<T> sums(file, evaluator_, std::size_t(site), lists, wanted, weights);
      std::vector<long> order;
      for (const Range& range : blocks(lists, order)) {
        const long* atoms = order.data() + range.first;
        sums.take(range.element, range.atoms, atoms, visitor(lists, atoms));
      }
      sums.write(out);
    } else {
      throw etn::Error("precision: expected 64 for sums of rows");
    }
  }

 private:
  // Atoms of one element, as many as there are lanes.
  struct Range {
    int element;
    long first;
    int atoms;
  };

  // Raises an error unless all that the lists point to is there.
  void check(const etn_neighbors& lists) const {
    const auto in = [](long number, long count) { return 0 <= number && number < count; };
    const auto need = [](bool holds, const char* what) {
      if (!holds) throw etn::Error(std::string(what) + ": a number is out of range");
    };
    if (!lists.vector && !(lists.position && lists.shift))
      throw etn::Error("vector: expected vectors of the pairs, or positions and shifts");
    const long n_elements = long(evaluator_.elements.size());
    for (long i = 0; i < lists.n_atoms; ++i) {
      need(in(lists.element[i], n_elements), "element");
      need(in(lists.frame[i], lists.n_frames), "frame");
    }
    for (long i = 0; i < lists.n_centers; ++i) {
      need(in(lists.center[i], lists.n_atoms), "center");
      need(lists.first[i] <= lists.first[i + 1], "first");
    }
    for (long at = lists.first[0]; at < lists.first[lists.n_centers]; ++at)
      need(in(lists.neighbor[at], lists.n_atoms), "neighbor");
  }

  std::vector<Range> blocks(const etn_neighbors& lists, std::vector<long>& order) const {
    check(lists);
    const int n_elements = int(evaluator_.elements.size());
    std::vector<std::vector<long>> of(static_cast<std::size_t>(n_elements));
    for (long i = 0; i < lists.n_centers; ++i)
      of[std::size_t(lists.element[lists.center[i]])].push_back(i);
    std::vector<Range> ranges;
    for (int z = 0; z < n_elements; ++z) {
      const auto& own = of[std::size_t(z)];
      for (long k = 0; k < long(own.size()); k += width)
        ranges.push_back(
            {z, long(order.size()) + k, int(std::min(long(width), long(own.size()) - k))});
      order.insert(order.end(), own.begin(), own.end());
    }
    return ranges;
  }

  // Calls task(range, its centers) for all blocks, some of them by each thread.
  template <class Task>
  void each_block(const etn_neighbors& lists, int threads, const Task& task) const {
    std::vector<long> order;
    const std::vector<Range> ranges = blocks(lists, order);
    const long chunk = 8, n_chunks = (long(ranges.size()) + chunk - 1) / chunk;
    share(n_chunks, threads, [&](long c) {
      for (long k = c * chunk; k < std::min((c + 1) * chunk, long(ranges.size())); ++k)
        task(ranges[std::size_t(k)], order.data() + ranges[std::size_t(k)].first);
    });
  }

  // Tells of the neighbours of the atom in a lane.
  static auto visitor(const etn_neighbors& lists, const long* atoms) {
    return [&lists, atoms](int lane, const auto& add) {
      const long i = atoms[lane];
      for (long at = lists.first[i]; at < lists.first[i + 1]; ++at) {
        const auto d = displacement(lists, lists.center[i], at);
        add(lists.element[lists.neighbor[at]], d[0], d[1], d[2], long(lists.neighbor[at]), at);
      }
    };
  }

  etn::Evaluator<T> evaluator_;
  std::unique_ptr<etn::Grades<T>> grades_;
};

}  // namespace

std::unique_ptr<Driver> ETN_NAME(make_, ETN_TARGET)(const etn::ModelFile& file, int precision) {
  if (precision == 32) return std::make_unique<Lists<float>>(file);
  return std::make_unique<Lists<double>>(file);
}
