// Radial functions of pairs, and where the data end: see etn/potential/features/{radial,inner}.py.
//
// Under the cutoff (1 - r / r_max)^3 stand Chebyshev polynomials; orthonormal combinations of them,
// and these weighted for elements and degrees, are folded into one matrix for each degree.
#pragma once

#include <cmath>
#include <vector>

#include "lanes.hpp"
#include "model_file.hpp"

namespace etn {

// Coefficients (n_max, n_max) of Chebyshev polynomials p in the orthonormal functions n.
inline std::vector<double> orthonormal(int n_max, double r_min, double r_max) {
  const int points = n_max + 8;
  const double half = (r_max - r_min) / 2, pi = 3.14159265358979323846;
  std::vector<double> gram(std::size_t(n_max * n_max), 0.0), row(static_cast<std::size_t>(n_max));
  for (int k = 0; k < points; ++k) {
    // Gauss-Legendre: nodes by Newton's method.
    double x = std::cos(pi * (k + 0.75) / (points + 0.5)), slope = 1;
    for (int step = 0; step < 100; ++step) {
      double p = 1, before = 0;
      for (int l = 1; l <= points; ++l) {
        const double next = ((2 * l - 1) * x * p - (l - 1) * before) / l;
        before = p, p = next;
      }
      slope = points * (before - x * p) / (1 - x * x);
      const double change = p / slope;
      x -= change;
      if (std::abs(change) < 1e-16) break;
    }
    const double weight = 2 / ((1 - x * x) * slope * slope), r = r_min + half * (x + 1);
    const double inside = std::pow(1 - r / r_max, 3);
    for (int n = 0; n < n_max; ++n)
      row[std::size_t(n)] = inside * (n == 0   ? 1
                                      : n == 1 ? x
                                               : 2 * x * row[std::size_t(n - 1)] / inside -
                                                     row[std::size_t(n - 2)] / inside);
    for (int a = 0; a < n_max; ++a)
      for (int b = 0; b < n_max; ++b)
        gram[std::size_t(a * n_max + b)] +=
            half * weight * r * r * row[std::size_t(a)] * row[std::size_t(b)];
  }
  // gram = L L^T; the coefficients are the transpose of the inverse of L.
  std::vector<double> factor(gram.size(), 0.0), out(gram.size(), 0.0);
  const auto at = [n_max](int a, int b) { return std::size_t(a * n_max + b); };
  for (int a = 0; a < n_max; ++a)
    for (int b = 0; b <= a; ++b) {
      double sum = gram[at(a, b)];
      for (int k = 0; k < b; ++k) sum -= factor[at(a, k)] * factor[at(b, k)];
      if (a == b && !(sum > 0)) throw Error("the radial functions are not independent");
      factor[at(a, b)] = a == b ? std::sqrt(sum) : sum / factor[at(b, b)];
    }
  for (int n = 0; n < n_max; ++n) {  // column n of the inverse of L
    for (int a = n; a < n_max; ++a) {
      double sum = a == n;
      for (int k = n; k < a; ++k) sum -= factor[at(a, k)] * out[at(n, k)];
      out[at(n, a)] = sum / factor[at(a, a)];
    }
  }
  return out;
}

inline namespace ETN_TARGET {

template <class T>
class Radial {
 public:
  using V = Vec<T>;

  explicit Radial(const ModelFile& file)
      : n_max(file.n_max), r_min_(file.r_min), r_max_(file.r_max) {
    const std::vector<double> c = orthonormal(n_max, file.r_min, file.r_max);
    const long elements = long(file.elements.size());
    for (long z = 0; z < elements; ++z) {
      folded.emplace_back();
      for (const Array& weights : file.channels) {
        const long channels = weights.shape[2];
        std::vector<T> matrix(std::size_t(channels * n_max));
        for (long k = 0; k < channels; ++k)
          for (long p = 0; p < n_max; ++p) {
            double sum = 0;
            for (long n = 0; n < n_max; ++n)
              sum += c[std::size_t(p * n_max + n)] *
                     weights.values[std::size_t((z * n_max + n) * channels + k)];
            matrix[std::size_t(k * n_max + p)] = T(sum);
          }
        folded.back().push_back(std::move(matrix));
      }
    }
  }

  // Polynomials under the cutoff and their slopes.
  void values(V r, V* value, V* slope) const {
    const V zero{}, inside = larger(1 - r / T(r_max_), zero), envelope = inside * inside * inside;
    const V falls = T(-3 / r_max_) * inside * inside;
    const T scale = T(2 / (r_max_ - r_min_));
    const V x = scale * (r - T(r_min_)) - 1;
    V t = all<T>(1), before = x, u = zero, u_before = zero;  // T_0, T_{-1}; U_{-1}, U_{-2} + ...
    for (int p = 0; p < n_max; ++p) {
      value[p] = envelope * t;
      slope[p] = envelope * (scale * T(p)) * u + falls * t;
      const V next = p ? 2 * x * t - before : x;
      const V u_next = p ? 2 * x * u - u_before : all<T>(1);
      before = t, t = next, u_before = u, u = u_next;
    }
  }

  const int n_max;
  // For each element and degree: (channels, n_max).
  std::vector<std::vector<std::vector<T>>> folded;

 private:
  double r_min_, r_max_;
};

}  // namespace ETN_TARGET
}  // namespace etn
