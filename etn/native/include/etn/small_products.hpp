// Products of small matrices of numbers with rows of lanes: components of irreps side by side.
//
// The widths 2 l + 1 are constants where they are compiled, so that results stay in registers.
#pragma once

#include "lanes.hpp"

namespace etn {
inline namespace ETN_TARGET {

// For rows of D components:
template <class T, int D>
struct Rows {
  using V = Vec<T>;
  static constexpr int tile = D >= 9 ? 2 : D >= 5 ? 3 : D >= 3 ? (registers > 16 ? 6 : 4) : 8;

  // out[p] = (or +=) sum_n matrix[p, n] x[n]
  template <bool add>
  static void apply(const T* matrix, int rows, int columns, const V* x, V* out) {
    int p = 0;
    for (; p + tile <= rows; p += tile)
      tiled<tile, add>(matrix + p * columns, columns, x, out + p * D);
    for (; p < rows; ++p) tiled<1, add>(matrix + p * columns, columns, x, out + p * D);
  }

  // out[n] += sum_p matrix[p, n] x[p]
  static void transposed(const T* matrix, int rows, int columns, const V* x, V* out) {
    int n = 0;
    for (; n + tile <= columns; n += tile) summed<tile>(matrix + n, rows, columns, x, out + n * D);
    for (; n < columns; ++n) summed<1>(matrix + n, rows, columns, x, out + n * D);
  }

  // out[n] = sum_k f[k][n] y[k], rows of f and y being `step` apart
  static void outer(const V* f, const V* y, long step, int terms, int columns, V* out) {
    int n = 0;
    for (; n + tile <= columns; n += tile) outer_tile<tile>(f + n, y, step, terms, out + n * D);
    for (; n < columns; ++n) outer_tile<1>(f + n, y, step, terms, out + n * D);
  }

 private:
  template <int Q, bool add>
  static void tiled(const T* matrix, int columns, const V* x, V* out) {
    V sum[Q][D];
#pragma GCC unroll 16
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 16
      for (int m = 0; m < D; ++m) sum[i][m] = add ? out[i * D + m] : V{};
    for (int n = 0; n < columns; ++n)
#pragma GCC unroll 16
      for (int m = 0; m < D; ++m) {
        const V value = x[n * D + m];
#pragma GCC unroll 16
        for (int i = 0; i < Q; ++i) sum[i][m] += matrix[i * columns + n] * value;
      }
#pragma GCC unroll 16
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 16
      for (int m = 0; m < D; ++m) out[i * D + m] = sum[i][m];
  }

  template <int Q>
  static void summed(const T* matrix, int rows, int columns, const V* x, V* out) {
    V sum[Q][D];
#pragma GCC unroll 16
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 16
      for (int m = 0; m < D; ++m) sum[i][m] = out[i * D + m];
    for (int p = 0; p < rows; ++p)
#pragma GCC unroll 16
      for (int m = 0; m < D; ++m) {
        const V value = x[p * D + m];
#pragma GCC unroll 16
        for (int i = 0; i < Q; ++i) sum[i][m] += matrix[p * columns + i] * value;
      }
#pragma GCC unroll 16
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 16
      for (int m = 0; m < D; ++m) out[i * D + m] = sum[i][m];
  }

  template <int Q>
  static void outer_tile(const V* f, const V* y, long step, int terms, V* out) {
    V sum[Q][D] = {};
    for (int k = 0; k < terms; ++k, f += step, y += step)
#pragma GCC unroll 16
      for (int m = 0; m < D; ++m) {
        const V value = y[m];
#pragma GCC unroll 16
        for (int i = 0; i < Q; ++i) sum[i][m] += f[i] * value;
      }
#pragma GCC unroll 16
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 16
      for (int m = 0; m < D; ++m) out[i * D + m] = sum[i][m];
  }
};

// The products for degree l, found at run time.
template <class T>
struct RowProducts {
  using V = Vec<T>;
  void (*set)(const T*, int, int, const V*, V*);
  void (*add)(const T*, int, int, const V*, V*);
  void (*transposed)(const T*, int, int, const V*, V*);
  void (*outer)(const V*, const V*, long, int, int, V*);

  static const RowProducts& of(int l) {
    static const RowProducts table[] = {make<1>(), make<3>(),  make<5>(), make<7>(),
                                        make<9>(), make<11>(), make<13>()};
    return table[l];
  }

 private:
  template <int D>
  static RowProducts make() {
    using R = Rows<T, D>;
    return {R::template apply<false>, R::template apply<true>, R::transposed, R::outer};
  }
};

}  // namespace ETN_TARGET
}  // namespace etn
