// Lanes: a register of numbers, one for each atom of a block.
//
// GCC and Clang lower a vector of any width to what the target has, so there is one source for
// all of them; the width is chosen where a file is compiled (ETN_VECTOR_BYTES).
#pragma once

#include <cmath>
#include <cstddef>

#ifndef ETN_VECTOR_BYTES
#if defined(__AVX512F__)
#define ETN_VECTOR_BYTES 64
#elif defined(__AVX__)
#define ETN_VECTOR_BYTES 32
#else
#define ETN_VECTOR_BYTES 16
#endif
#endif

// Kernels that are compiled for several targets must not share names.
#ifndef ETN_TARGET
#define ETN_TARGET generic
#endif

namespace etn {
inline namespace ETN_TARGET {

template <class T>
struct Lanes {
  static constexpr int width = ETN_VECTOR_BYTES / sizeof(T);
  typedef T type __attribute__((vector_size(ETN_VECTOR_BYTES)));
};

template <class T>
using Vec = typename Lanes<T>::type;

// Registers that hold vectors: what a kernel may keep there at once.
constexpr int registers = ETN_VECTOR_BYTES == 64 ? 32 : 16;

template <class T>
inline Vec<T> all(T value) {
  return Vec<T>{} + value;
}

template <class T>
inline Vec<T> square_root(Vec<T> x) {
  Vec<T> out;
  for (int i = 0; i < Lanes<T>::width; ++i) out[i] = std::sqrt(x[i]);
  return out;
}

// With the bound second: what is no number stays none.
template <class V>
inline V larger(V a, V b) {
  return b > a ? b : a;
}

template <class V>
inline V smaller(V a, V b) {
  return b < a ? b : a;
}

// A polynomial of degree 5 that falls from 1 (t <= 0) to 0 (t >= 1), its first two derivatives
// zero at both ends; its slope; and its integral, t up to zero and 1/2 from one on.
template <class V>
struct Fall {
  V value, slope, settled;
};

template <class V>
inline Fall<V> fall(V t) {
  const V zero{}, one = zero + 1, v = smaller(larger(t, zero), one), w = one - v;
  return {one - v * v * v * (10 - 15 * v + 6 * v * v), -30 * v * v * w * w,
          smaller(t, zero) + v - v * v * v * v * (5 - 6 * v + 2 * v * v) / 2};
}

}  // namespace ETN_TARGET
}  // namespace etn
