// Extrapolation grades of atoms: how far each lies beyond the training data, as
// etn/potential/uncertainty and etn/potential/coverage.py have it.
//
// The energy of an atom is linear in the last core of its chain, E = phi . a.  With the phi of the
// active set as the rows of A, the grade is the largest |(phi A^-1)_k|, or what distances and
// numbers of neighbours say, if that is more.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "evaluator.hpp"

namespace etn {
inline namespace ETN_TARGET {

// The larger one; what is no number stays none, so that nobody takes it for a small grade.
template <class V>
inline V worse(V a, V b) {
  return (b > a) | (b != b) ? b : a;
}

// What the training data have shown of the neighbours of each element.
class Coverage {
 public:
  // (elements, elements): shortest distances, zero where two never met.  Empty if nothing is known.
  std::vector<double> closest;
  double r_max = 0;

  explicit Coverage(const ModelFile& file) : n_(file.elements.size()) {
    const Json& header = file.stored.header;
    if (!file.has_grades() || !header["uncertainty"].has("coverage")) return;
    r_max = header["uncertainty"]["coverage"]["r_max"].real();
    if (!(r_max > 0 && r_max <= file.r_max))
      throw Error("coverage: expected an r_max above zero and not beyond that of the potential");
    const long n = long(n_);
    closest = file.stored.finite("coverage.closest", {n, n}, 0);
    most_ = file.stored.finite("coverage.most", {n, n}, 0);
    for (double& number : most_) number = std::max(number, unseen);
    const std::vector<double>& seen = file.stored.finite("coverage.numbers", {n, grid}, 0);
    for (std::size_t z = 0; z < n_; ++z) gaps(seen.data() + z * grid);
  }

  bool is_known() const { return !closest.empty(); }

  // The largest term of an atom of an element, of the distances to its nearest neighbours of each
  // element and of their smooth numbers.
  double grade(int element, const double* nearest, const double* numbers) const {
    double found = 0, number = 0;
    for (std::size_t z = 0; z < n_; ++z) {
      const std::size_t pair = std::size_t(element) * n_ + z;
      if (nearest[z] < r_max)
        found = worse(found, steep(closest[pair] / nearest[z]) - steep(closest[pair] / r_max));
      found = worse(found, numbers[z] / most_[pair]);
      number += numbers[z];
    }
    double other = unlike(element, number);
    // It leaves with the last neighbour.
    if (number < 1) other = std::min(other, number * unlike(element, 1));
    return worse(found, other);
  }

 private:
  // As in coverage.py: numbers 0.01, 0.01 x 1.05, ..., to their third power.
  static constexpr long grid = 284;
  static constexpr double unseen = 0.01, ratio = 1.05, number_power = 3;

  static double steep(double x) {
    const double third = x * x * x, sixth = third * third;
    return sixth * sixth;
  }

  // Distance from each number of the grid to the nearest one that was seen, in logarithms.
  void gaps(const double* seen) {
    std::vector<long> at;
    for (long k = 0; k < grid; ++k)
      if (seen[k] != 0) at.push_back(k);
    if (at.empty()) at.push_back(0);
    for (long k = 0; k < grid; ++k) {
      long least = grid;
      for (const long other : at) least = std::min(least, std::labs(k - other));
      gaps_.push_back(std::log(ratio) * double(least));
    }
  }

  double unlike(int element, double number) const {
    const double step = std::log(ratio), from = std::log(unseen);
    const double place = std::min(std::max((std::log(std::max(number, unseen)) - from) / step, 0.0),
                                  double(grid - 1));
    if (place != place) return place;
    const long low = std::min(long(place), grid - 2);
    const double* gap = gaps_.data() + element * grid + low;
    return std::expm1(number_power * (gap[0] + (place - double(low)) * (gap[1] - gap[0])));
  }

  std::size_t n_;
  std::vector<double> most_, gaps_;
};

template <class T>
class Grades {
 public:
  using V = Vec<T>;
  static constexpr int width = Lanes<T>::width;

  explicit Grades(const ModelFile& file)
      : coverage_(file), chain_(file, posterior(file)), n_(chain_.last_size()) {
    const std::vector<double>& inverse = file.stored.finite("uncertainty.inverse", {n_, n_});
    for (long k = 0; k < n_; ++k)
      for (long i = 0; i < n_; ++i) transposed_.push_back(T(inverse[std::size_t(i * n_ + k)]));
    // Features count from those of an atom without neighbours, as its energy does.
    std::vector<V> leg(std::size_t(chain_.leg_size)), phi(static_cast<std::size_t>(n_)),
        scratch(std::size_t(chain_.scratch_size));
    leg[0] = all<T>(1);
    for (std::size_t z = 0; z < file.elements.size(); ++z) {
      chain_.by_last(int(z), leg.data(), phi.data(), scratch.data());
      for (const V& value : phi) vacuum_.push_back(value[0]);
    }
  }

  // The memory of one thread, for the evaluator as well.
  struct Scratch : Evaluator<T>::Scratch {
    std::vector<V> phi, coefficients, numbers;
    std::vector<double> of_lane;
  };

  // Grades of the atoms that the evaluator has just looked at, by `features` or by `block`.
  void block(const Evaluator<T>& evaluator, int element, int atoms, Scratch& s,
             double* grades) const {
    const std::size_t n = std::size_t(n_);
    s.phi.resize(n), s.coefficients.resize(n);
    s.chain.resize(std::max(s.chain.size(), std::size_t(chain_.scratch_size)));
    chain_.by_last(element, s.leg.data(), s.phi.data(), s.chain.data());
    for (std::size_t i = 0; i < n; ++i) s.phi[i] -= vacuum_[std::size_t(element) * n + i];
    RowProducts<T>::of(0).set(transposed_.data(), int(n_), int(n_), s.phi.data(),
                              s.coefficients.data());
    V found{};
    for (const V& c : s.coefficients) found = worse(found, c < 0 ? -c : c);
    for (int lane = 0; lane < atoms; ++lane) grades[lane] = double(found[lane]);
    if (coverage_.is_known()) cover(evaluator, element, atoms, s, grades);
  }

 private:
  static StoredChain posterior(const ModelFile& file) {
    if (!file.has_grades())
      throw Error(
          "the potential has no extrapolation grades; a fit makes them, or "
          "etn.potential.with_uncertainty from the training data");
    return file.chain_of(file.stored.header["uncertainty"]["chain"]["legs"], "posterior");
  }

  // What distances and numbers of neighbours say.
  void cover(const Evaluator<T>& evaluator, int element, int atoms, Scratch& s,
             double* grades) const {
    const std::size_t elements = evaluator.elements.size();
    const V* near = s.near.data();
    s.numbers.assign(elements, V{});
    for (std::size_t z = 0; z < elements; ++z)
      for (int k = 0; k < s.count[z]; ++k, near += evaluator.stride()) {
        const V x = near[3] / T(coverage_.r_max), third = x * x * x,
                inside = larger(1 - third * third, V{});
        s.numbers[z] += inside * inside * inside;
      }
    s.of_lane.resize(2 * elements);
    double *const nearest = s.of_lane.data(), *const numbers = nearest + elements;
    for (int lane = 0; lane < atoms; ++lane) {
      for (std::size_t z = 0; z < elements; ++z)
        nearest[z] = double(s.nearest[z][lane]), numbers[z] = double(s.numbers[z][lane]);
      grades[lane] = worse(grades[lane], coverage_.grade(element, nearest, numbers));
    }
  }

  Coverage coverage_;
  ChainKernel<T> chain_;
  long n_;
  std::vector<T> transposed_, vacuum_;  // of A^-1, (k, i); of each element, (elements, i)
};

}  // namespace ETN_TARGET
}  // namespace etn
