// Products of three irreps, one straight line of code for each triple of degrees.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "couplings.hpp"
#include "json.hpp"
#include "lanes.hpp"

namespace etn {
inline namespace ETN_TARGET {

// With w the tensor of degrees l1 <= l2 <= l3, x one irrep of each and g three that are added to:
//   all:  g1 += w x2 x3,  g2 += w x1 x3,  g3 += w x1 x2;      one: the first, second or third
//   alone.
template <class V>
struct Couple {
  using All = void (*)(const V* x1, const V* x2, const V* x3, V* g1, V* g2, V* g3);
  using One = void (*)(const V* x, const V* y, V* g);
  All all;
  One one[3];
};

template <class V, int l1, int l2, int l3>
struct Triple;

#define ETN_LOAD(name, size) \
  V name[size];              \
  _Pragma("GCC unroll 16") for (int i = 0; i < size; ++i) name[i] = name##_[i];
#define ETN_STORE(name, size) \
  _Pragma("GCC unroll 16") for (int i = 0; i < size; ++i) name##_[i] = name[i];

#define ETN_ALL(i, j, k, w)                                 \
  {                                                         \
    const V wx = Number(w) * x1[i], wy = Number(w) * x2[j]; \
    g3[k] += wx * x2[j];                                    \
    g2[j] += wx * x3[k];                                    \
    g1[i] += wy * x3[k];                                    \
  }
#define ETN_FIRST(i, j, k, w) g[i] += Number(w) * x[j] * y[k];
#define ETN_SECOND(i, j, k, w) g[j] += Number(w) * x[i] * y[k];
#define ETN_THIRD(i, j, k, w) g[k] += Number(w) * x[i] * y[j];

#define ETN_ONE(name, size_x, size_y, size_g, entry, l1, l2, l3)                    \
  static void name(const V* x_, const V* y_, V* g_) {                               \
    ETN_LOAD(x, size_x)                                                             \
    ETN_LOAD(y, size_y)                                                             \
    ETN_LOAD(g, size_g) ETN_COUPLING_##l1##_##l2##_##l3(entry) ETN_STORE(g, size_g) \
  }

#define ETN_TRIPLE(l1, l2, l3)                                                               \
  template <class V>                                                                         \
  struct Triple<V, l1, l2, l3> {                                                             \
    using Number = std::remove_reference_t<decltype(V{}[0])>;                                \
    static constexpr int d1 = 2 * l1 + 1, d2 = 2 * l2 + 1, d3 = 2 * l3 + 1;                  \
    static void all(const V* x1_, const V* x2_, const V* x3_, V* g1_, V* g2_, V* g3_){       \
        ETN_LOAD(x1, d1) ETN_LOAD(x2, d2) ETN_LOAD(x3, d3) ETN_LOAD(g1, d1) ETN_LOAD(g2, d2) \
            ETN_LOAD(g3, d3) ETN_COUPLING_##l1##_##l2##_##l3(ETN_ALL) ETN_STORE(g1, d1)      \
                ETN_STORE(g2, d2)                                                            \
                    ETN_STORE(g3, d3)} ETN_ONE(first, d2, d3, d1, ETN_FIRST, l1, l2, l3)     \
        ETN_ONE(second, d1, d3, d2, ETN_SECOND, l1, l2, l3)                                  \
            ETN_ONE(third, d1, d2, d3, ETN_THIRD, l1, l2, l3)                                \
  };

ETN_TRIPLES(ETN_TRIPLE)

// The products of degrees l1 <= l2 <= l3.
template <class V>
inline const Couple<V>& couple(int l1, int l2, int l3) {
  static const auto table = [] {
    std::array<Couple<V>, (ETN_MAX_DEGREE + 1) * (ETN_MAX_DEGREE + 1) * (ETN_MAX_DEGREE + 1)> t{};
#define ETN_ENTER(a, b, c)                                                      \
  t[std::size_t((a * (ETN_MAX_DEGREE + 1) + b) * (ETN_MAX_DEGREE + 1) + c)] = { \
      Triple<V, a, b, c>::all,                                                  \
      {Triple<V, a, b, c>::first, Triple<V, a, b, c>::second, Triple<V, a, b, c>::third}};
    ETN_TRIPLES(ETN_ENTER)
#undef ETN_ENTER
    return t;
  }();
  return table[std::size_t((l1 * (ETN_MAX_DEGREE + 1) + l2) * (ETN_MAX_DEGREE + 1) + l3)];
}

// The legs of a block by rising degree, as couplings have them, and the factor of its entries.
struct LegOrder {
  int order[3] = {0, 1, 2};
  double factor;

  LegOrder(int l1, int l2, int l3) {
    const int l[3] = {l1, l2, l3};
    std::stable_sort(order, order + 3, [&](int a, int b) { return l[a] < l[b]; });
    // An odd sum of degrees has an antisymmetric tensor.
    const int swaps = (order[0] > order[1]) + (order[1] > order[2]) + (order[0] > order[2]);
    const bool odd = (l1 + l2 + l3) % 2 && swaps % 2;
    factor = (odd ? -1.0 : 1.0) * std::sqrt(double(2 * l3 + 1));
  }
};

// A component of the tensor of three degrees that is not zero.
struct CouplingEntry {
  int i, j, k;
  double w;
};

struct CouplingEntries {
  const CouplingEntry *first, *last;
  const CouplingEntry* begin() const { return first; }
  const CouplingEntry* end() const { return last; }
};

// Those of degrees l1 <= l2 <= l3.
inline CouplingEntries coupling_entries(int a, int b, int c) {
#define ETN_ITEM(i, j, k, w) {i, j, k, w},
#define ETN_FIND(l1, l2, l3)                                                          \
  if (a == l1 && b == l2 && c == l3) {                                                \
    static const CouplingEntry found[] = {ETN_COUPLING_##l1##_##l2##_##l3(ETN_ITEM)}; \
    return {found, found + sizeof(found) / sizeof(*found)};                           \
  }
  ETN_TRIPLES(ETN_FIND)
#undef ETN_FIND
#undef ETN_ITEM
  throw Error("there is no coupling of the degrees of a block");
}

#undef ETN_LOAD
#undef ETN_STORE
#undef ETN_ALL
#undef ETN_FIRST
#undef ETN_SECOND
#undef ETN_THIRD
#undef ETN_ONE
#undef ETN_TRIPLE

}  // namespace ETN_TARGET
}  // namespace etn
