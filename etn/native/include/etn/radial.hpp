// Radial functions of pairs, and where the data end: see etn/potential/features/{radial,inner}.py.
//
// Orthonormal functions follow from one another by a recurrence: sums of Chebyshev polynomials, which
// cancel, would cost two digits, and single precision has seven.  Their weights for elements and
// degrees are kept as one matrix for each.
#pragma once

#include <cmath>
#include <vector>

#include "lanes.hpp"
#include "model_file.hpp"

namespace etn {

// g_0 = first (1 - r / r_max)^3,  g_{n+1} = (rise_n x - shift_n) g_n - back_n g_{n-1}, x rising from
// -1 at r_min to 1 at r_max.
struct Recurrence {
  struct Step {
    double rise, shift, back;
  };
  double first;
  std::vector<Step> steps;
};

// By the procedure of Stieltjes: int g_n g_m r^2 dr = delta over r_min..r_max.
inline Recurrence orthonormal(int n_max, double r_min, double r_max) {
  const std::size_t points = std::size_t(n_max) + 8;
  const double half = (r_max - r_min) / 2, pi = 3.14159265358979323846;
  std::vector<double> nodes(points), weights(points), now(points), before(points, 0.0);
  for (std::size_t k = 0; k < points; ++k) {
    // Gauss-Legendre, exact for these polynomials: nodes by Newton's method.
    double x = std::cos(pi * (double(k) + 0.75) / (double(points) + 0.5)), slope = 1;
    for (int step = 0; step < 100; ++step) {
      double p = 1, last = 0;
      for (int l = 1; l <= int(points); ++l) {
        const double next = ((2 * l - 1) * x * p - (l - 1) * last) / l;
        last = p, p = next;
      }
      slope = double(points) * (last - x * p) / (1 - x * x);
      const double change = p / slope;
      x -= change;
      if (std::abs(change) < 1e-16) break;
    }
    const double r = r_min + half * (x + 1);
    nodes[k] = x, weights[k] = half * 2 / ((1 - x * x) * slope * slope) * r * r;
    now[k] = std::pow(1 - r / r_max, 3);
  }
  // Makes `now` of unit length, and returns by what it was divided.
  const auto normalize = [&] {
    double square = 0;
    for (std::size_t k = 0; k < points; ++k) square += weights[k] * now[k] * now[k];
    if (!(square > 0)) throw Error("the radial functions are not independent");
    const double length = std::sqrt(square);
    for (double& value : now) value /= length;
    return length;
  };
  Recurrence found{1 / normalize(), {}};
  double back = 0;
  for (int n = 1; n < n_max; ++n) {
    double mean = 0;
    for (std::size_t k = 0; k < points; ++k) mean += weights[k] * nodes[k] * now[k] * now[k];
    for (std::size_t k = 0; k < points; ++k) {
      const double next = (nodes[k] - mean) * now[k] - back * before[k];
      before[k] = now[k], now[k] = next;
    }
    const double length = normalize();
    found.steps.push_back({1 / length, mean / length, back / length});
    back = length;
  }
  return found;
}

inline namespace ETN_TARGET {

template <class T>
class Radial {
 public:
  using V = Vec<T>;

  explicit Radial(const ModelFile& file)
      : n_max(file.n_max),
        r_min_(file.r_min),
        r_max_(file.r_max),
        recurrence_(orthonormal(file.n_max, file.r_min, file.r_max)) {
    const long elements = long(file.elements.size());
    for (long z = 0; z < elements; ++z) {
      folded.emplace_back();
      for (const Array& weights : file.channels) {
        const long channels = weights.shape[2];
        std::vector<T> matrix;
        for (long k = 0; k < channels; ++k)
          for (long n = 0; n < n_max; ++n)
            matrix.push_back(T(weights.values[std::size_t((z * n_max + n) * channels + k)]));
        folded.back().push_back(std::move(matrix));
      }
    }
  }

  // Functions and their slopes.
  void values(V r, V* value, V* slope) const {
    const V zero{}, inside = larger(1 - r / T(r_max_), zero), square = inside * inside;
    const double scale = 2 / (r_max_ - r_min_);
    const V x = T(scale) * (r - T(r_min_)) - 1;
    value[0] = T(recurrence_.first) * square * inside;
    slope[0] = T(-3 / r_max_ * recurrence_.first) * square;
    V before = zero, slope_before = zero;
    for (int n = 0; n + 1 < n_max; ++n) {
      const Recurrence::Step& step = recurrence_.steps[std::size_t(n)];
      const V ahead = T(step.rise) * x - T(step.shift);
      value[n + 1] = ahead * value[n] - T(step.back) * before;
      slope[n + 1] =
          ahead * slope[n] + T(step.rise * scale) * value[n] - T(step.back) * slope_before;
      before = value[n], slope_before = slope[n];
    }
  }

  const int n_max;
  // For each element and degree: (channels, n_max).
  std::vector<std::vector<std::vector<T>>> folded;

 private:
  double r_min_, r_max_;
  Recurrence recurrence_;
};

}  // namespace ETN_TARGET
}  // namespace etn
