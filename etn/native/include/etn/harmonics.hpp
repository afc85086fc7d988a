// Real spherical harmonics of unit vectors, and gradients of sums of them.
//
//   Y_lm = N_lm Q_l^|m|(z) { c_m (m >= 0), s_|m| (m < 0) },   c_m + i s_m = (x + i y)^m,
//
// with Q_l^m = d^m P_l / dz^m, orthonormal, in the order m = -l..l at l^2 + l + m.
#pragma once

#include "lanes.hpp"

namespace etn {
inline namespace ETN_TARGET {

template <class T>
class Harmonics {
 public:
  using V = Vec<T>;
  static constexpr int max_degree = 6;

  explicit Harmonics(int degree) : l_max(degree) {
    const double pi = 3.14159265358979323846;
    for (int l = 0; l <= l_max; ++l)
      for (int m = 0; m <= l; ++m) {
        double ratio = 1;  // (l - m)! / (l + m)!
        for (int k = l - m + 1; k <= l + m; ++k) ratio /= k;
        norm_[l][m] = T(std::sqrt((m ? 2 : 1) * (2 * l + 1) / (4 * pi) * ratio));
      }
  }

  int size() const { return (l_max + 1) * (l_max + 1); }

  void values(V x, V y, V z, V* out) const {
    V c[max_degree + 1], s[max_degree + 1], q[max_degree + 1][max_degree + 1];
    powers(x, y, c, s);
    legendre(z, q);
    for (int l = 0; l <= l_max; ++l) {
      V* at = out + l * l + l;
      at[0] = norm_[l][0] * q[l][0];
      for (int m = 1; m <= l; ++m) {
        const V part = norm_[l][m] * q[l][m];
        at[m] = part * c[m], at[-m] = part * s[m];
      }
    }
  }

  // The gradient of sum h_lm Y_lm by the unit vector, up to what is along it.
  void gradient(V x, V y, V z, const V* h, V& gx, V& gy, V& gz) const {
    V c[max_degree + 1], s[max_degree + 1], q[max_degree + 1][max_degree + 1];
    powers(x, y, c, s);
    legendre(z, q);
    gx = gy = gz = V{};
    for (int m = 0; m <= l_max; ++m) {
      // Of c_m and s_m, and their changes with z.
      V a{}, b{}, az{}, bz{};
      for (int l = m; l <= l_max; ++l) {
        const V* at = h + l * l + l;
        const V part = norm_[l][m] * q[l][m];
        a += part * at[m];
        if (m) b += part * at[-m];
        if (m == l) continue;
        const V slope = norm_[l][m] * q[l][m + 1];
        az += slope * at[m];
        if (m) bz += slope * at[-m];
      }
      gz += az * c[m];
      if (!m) continue;
      gz += bz * s[m];
      gx += T(m) * (a * c[m - 1] + b * s[m - 1]);
      gy += T(m) * (b * c[m - 1] - a * s[m - 1]);
    }
  }

  // The gradient of each of them, out[3 (l^2 + l + m) + axis], up to what is along the unit vector.
  void gradients(V x, V y, V z, V* out) const {
    V c[max_degree + 1], s[max_degree + 1], q[max_degree + 1][max_degree + 1];
    powers(x, y, c, s);
    legendre(z, q);
    for (int l = 0; l <= l_max; ++l)
      for (int m = 0; m <= l; ++m) {
        const V part = T(m) * norm_[l][m] * q[l][m];
        const V slope = m == l ? V{} : norm_[l][m] * q[l][m + 1];
        const int before = m ? m - 1 : 0;  // the part is zero for m = 0
        V* const cosine = out + 3 * (l * l + l + m);
        cosine[0] = part * c[before], cosine[1] = -part * s[before], cosine[2] = slope * c[m];
        if (!m) continue;
        V* const sine = out + 3 * (l * l + l - m);
        sine[0] = part * s[before], sine[1] = part * c[before], sine[2] = slope * s[m];
      }
  }

  const int l_max;

 private:
  void powers(V x, V y, V* c, V* s) const {
    c[0] = all<T>(1), s[0] = V{};
    for (int m = 1; m <= l_max; ++m) {
      c[m] = x * c[m - 1] - y * s[m - 1];
      s[m] = x * s[m - 1] + y * c[m - 1];
    }
  }

  void legendre(V z, V (*q)[max_degree + 1]) const {
    for (int m = 0; m <= l_max; ++m) {
      q[m][m] = m ? T(2 * m - 1) * q[m - 1][m - 1] : all<T>(1);
      if (m < l_max) q[m + 1][m] = T(2 * m + 1) * z * q[m][m];
      for (int l = m + 2; l <= l_max; ++l)
        q[l][m] =
            (T(2 * l - 1) / T(l - m)) * z * q[l - 1][m] - (T(l + m - 1) / T(l - m)) * q[l - 2][m];
    }
  }

  T norm_[max_degree + 1][max_degree + 1] = {};
};

}  // namespace ETN_TARGET
}  // namespace etn
