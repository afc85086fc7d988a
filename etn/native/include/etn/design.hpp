// Rows of the design of one core: how energies, forces and strains depend on its entries.
//
// With all other cores fixed the energy of an atom is linear in the core between L and R,
//
//   E = sum core[a, n, c] w[m1, m2, m3] L[a, m1] v[n, m2] R[c, m3],
//
// and so is its derivative along a direction dv of the leg:  U dv + V dL + W dR  with  U = w L R,
// V = w v R,  W = w L v.  These three are found once for an atom.  A row of forces, of the atom k
// that moves, is the sum over the atoms i that feel it: for each irrep a product of matrices whose
// inner index runs over (i, m), so that the sum stays in registers.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <vector>

#include "chain.hpp"
#include "evaluator.hpp"

namespace etn {
inline namespace ETN_TARGET {

// A block of a core with the entries of its coupling, for any of its legs.
template <class T>
struct CoupledBlock {
  using V = Vec<T>;
  struct Entry {
    std::array<int, 3> m;
    T w;
  };

  std::array<Irrep, 3> irreps;
  std::array<int, 3> copies, dims, at;  // `at`: where the irrep begins on each leg
  std::vector<Entry> entries;
  std::vector<T> by_pair, by_channel[2];  // [(a c) n]; [(c n) a] and [(a n) c]

  CoupledBlock(const Block& block, const std::array<int, 3>& places) : at(places) {
    for (std::size_t i = 0; i < 3; ++i) {
      irreps[i] = block.irreps[i], copies[i] = block.multiplicities[i];
      dims[i] = irreps[i].dim();
    }
    const int l[3] = {irreps[0].l, irreps[1].l, irreps[2].l};
    const LegOrder legs(l[0], l[1], l[2]);
    const int* const order = legs.order;
    for (const CouplingEntry& found : coupling_entries(l[order[0]], l[order[1]], l[order[2]])) {
      Entry entry;
      entry.m[std::size_t(order[0])] = found.i, entry.m[std::size_t(order[1])] = found.j;
      entry.m[std::size_t(order[2])] = found.k;
      entry.w = T(legs.factor * found.w);
      entries.push_back(entry);
    }
    const auto value = [&](int i, int n, int k) {
      return T(block.values[(i * copies[1] + n) * copies[2] + k]);
    };
    for (int i = 0; i < copies[0]; ++i)
      for (int k = 0; k < copies[2]; ++k)
        for (int n = 0; n < copies[1]; ++n) by_pair.push_back(value(i, n, k));
    for (int k = 0; k < copies[2]; ++k)
      for (int n = 0; n < copies[1]; ++n)
        for (int i = 0; i < copies[0]; ++i) by_channel[0].push_back(value(i, n, k));
    for (int i = 0; i < copies[0]; ++i)
      for (int n = 0; n < copies[1]; ++n)
        for (int k = 0; k < copies[2]; ++k) by_channel[1].push_back(value(i, n, k));
  }

  // out[m_to] = sum w x[m_one] y[m_two], of the legs that are not `to` in their order.
  void couple(std::size_t to, const V* x, const V* y, V* out) const {
    const std::size_t one = to == 0 ? 1 : 0, two = to == 2 ? 1 : 2;
    std::fill(out, out + dims[to], V{});
    for (const Entry& e : entries) out[e.m[to]] += e.w * x[e.m[one]] * y[e.m[two]];
  }
};

template <class T>
class Design {
 public:
  using V = Vec<T>;
  static constexpr int width = Lanes<T>::width;

  int columns = 0;

  Design(const ModelFile& file, const Evaluator<T>& evaluator, std::size_t site)
      : evaluator_(evaluator), site_(site), leg_size_(evaluator.chain().leg_size) {
    if (site >= file.cores.size()) throw Error("site: expected one of the chain");
    for (const auto& terms : file.bonds) bonds_.push_back(BondLayout(terms));
    if (bonds_.front().size != int(evaluator.elements.size()) || bonds_.back().size != 1)
      throw Error("expected a chain from one scalar for each element to a scalar");
    for (std::size_t s = 0; s < file.cores.size(); ++s) {
      cores_.emplace_back();
      for (const Block& block : file.cores[s]) {
        const int l = block.irreps[1].l;
        if (l >= int(evaluator.chain().leg_at.size()))
          throw Error("a core has a leg that the basis does not have");
        cores_.back().emplace_back(block,
                                   std::array<int, 3>{{bonds_[s].at(block.irreps[0]),
                                                       evaluator.chain().leg_at[std::size_t(l)],
                                                       bonds_[s + 1].at(block.irreps[2])}});
      }
    }
    sides_[0] = site == 0 ? none : site == 1 ? linear : dense;
    sides_[1] = site + 1 == cores_.size() ? none : site + 2 == cores_.size() ? linear : dense;
    lay_out();
  }

  // The part of an atom in some rows: operands of the leg and both sides, and its factors.
  struct Part {
    std::array<const T*, 3> operand;
    const T* factor;
  };

  long factor_size() const { return factor_size_; }
  // Numbers of the operands of a direction.
  long operand_size() const { return operand_size_; }
  // Components of the bond on a side, if its values depend on the leg.
  int side_size(int side) const { return sides_[side] == none ? 0 : side_bond(side).size; }

  // Scratch of the atoms in the lanes.
  struct Workspace {
    std::vector<V> left, right, mixed, transfer, jacobian[2];
    std::vector<T> dense[2];  // of one lane: (leg components, bond components padded)
    int element = 0;
  };

  // Environments and factors of a block of atoms of one element from their legs.
  void prepare(int element, int atoms, const V* leg, Workspace& s, T* const* factors) const {
    s.element = element;
    std::vector<V> here(std::size_t(bonds_.front().size));
    here[std::size_t(element)] = all<T>(1);
    side(0, 0, site_, element, here, leg, s);
    s.left = here;
    here.assign(1, all<T>(1));
    side(1, cores_.size() - 1, site_, element, here, leg, s);
    s.right = here;
    V out[13];
    for (std::size_t k = 0; k < cores_[site_].size(); ++k) {
      const CoupledBlock<T>& b = cores_[site_][k];
      const V* const x[3] = {s.left.data() + b.at[0], leg + b.at[1], s.right.data() + b.at[2]};
      for (std::size_t to = 0; to < 3; ++to) {
        if (to != 1 && sides_[to / 2] == none) continue;
        const std::size_t one = to == 0 ? 1 : 0, two = to == 2 ? 1 : 2;
        const Group& group = groups_[to][group_of_[to][k]];
        long place = group.factor_at + place_[to][k];
        for (int i = 0; i < b.copies[one]; ++i)
          for (int j = 0; j < b.copies[two]; ++j, ++place) {
            b.couple(to, x[one] + i * b.dims[one], x[two] + j * b.dims[two], out);
            for (int m = 0; m < b.dims[to]; ++m)
              for (int lane = 0; lane < atoms; ++lane)
                factors[lane][place + m * group.padded] = out[m][lane];
          }
      }
    }
  }

  // The Jacobian of a lane, laid out for directions.
  void select(int lane, Workspace& s) const {
    for (int side = 0; side < 2; ++side) {
      if (sides_[side] != dense) continue;
      const int rows = side_bond(side).size, padded = pad(rows);
      s.dense[side].assign(std::size_t(leg_size_ * padded), T(0));
      // Components of the leg by (degree, m, channel), as those of directions.
      const auto& chain = evaluator_.chain();
      T* to = s.dense[side].data();
      for (std::size_t l = 0; l < chain.leg_at.size(); ++l) {
        const int dim = 2 * int(l) + 1, channels = chain.leg_channels[l];
        for (int m = 0; m < dim; ++m)
          for (int n = 0; n < channels; ++n, to += padded)
            for (int r = 0; r < rows; ++r)
              to[r] = s.jacobian[side][std::size_t(r * leg_size_ + chain.leg_at[l] + n * dim + m)]
                                [lane];
      }
    }
  }

  // Whether a side is one core, through which directions go as a map of copies.
  bool is_linear(int side) const { return sides_[side] == linear; }

  // The Jacobian of the bond next to an end, which is a map of copies: (bond, leg), by irreps.
  struct EndMap {
    int at, leg_at, copies, channels, dim;
    std::vector<T> matrix;  // (copies, channels)
  };

  std::vector<EndMap> end_maps(int side, int element) const {
    std::vector<EndMap> found;
    for (const CoupledBlock<T>& b : cores_[side == 0 ? 0 : cores_.size() - 1]) {
      const std::size_t out = side == 0 ? 2 : 0;
      EndMap p{b.at[out], b.at[1], b.copies[out], b.copies[1], b.dims[1], {}};
      // The coupling with a scalar is a multiple of one.
      for (int r = 0; r < p.copies; ++r)
        for (int n = 0; n < p.channels; ++n)
          p.matrix.push_back(
              b.entries[0].w *
              (side == 0 ? b.by_pair[std::size_t((element * p.copies + r) * p.channels + n)]
                         : b.by_pair[std::size_t(r * p.channels + n)]));
      found.push_back(std::move(p));
    }
    std::sort(found.begin(), found.end(),
              [](const EndMap& one, const EndMap& two) { return one.at < two.at; });
    return found;
  }

  // Operands of `count` directions of dense sides from those of the leg, out[0]: for each irrep of
  // the bond (m, direction, copy).
  void push(int count, const Workspace& s, T* const out[3]) const {
    for (int side = 0; side < 2; ++side)
      if (sides_[side] == dense)
        push_dense(count, side_bond(side), s.dense[side], out[0], out[1 + side]);
  }

  // rows (targets, count, columns) = the parts that the atoms have in each target, times a weight
  // of each row.  One group after the other, so that its factors, of all atoms, stay in the cache;
  // the products of a leg have an order of their own, and are put together one row after the other.
  void add(int count, const std::vector<std::vector<Part>>& targets, bool sides,
           const double* weights, T* rows) const {
    thread_local std::vector<T> products[3];
    const T* from[3] = {};
    for (std::size_t leg = 0; leg < 3; ++leg) {
      if (leg != 1 && (!sides || sides_[leg / 2] == none)) continue;
      const std::size_t slot = leg == 1 ? 0 : leg == 0 ? 1 : 2;
      const long span = spans_[leg];
      std::vector<T>& own = products[leg];
      own.resize(std::max(own.size(), targets.size() * std::size_t(count * span)));
      for (const Group& g : groups_[leg])
        for (std::size_t t = 0; t < targets.size(); ++t)
          if (!targets[t].empty())
            multiply(count, g, slot, targets[t], span, own.data() + long(t) * count * span);
      from[leg] = own.data();
    }
    for (const std::vector<Part>& parts : targets)
      for (int c = 0; c < count; ++c, rows += columns) {
        const T weight = weights ? T(*weights++) : T(1);
        if (parts.empty())
          std::fill(rows, rows + columns, T(0));
        else
          put_together(from, weight, rows);
        for (std::size_t leg = 0; leg < 3; ++leg)
          if (from[leg]) from[leg] += spans_[leg];
      }
  }

 private:
  enum Side { none, linear, dense };
  static constexpr int wide = registers > 16 ? 3 : 2;

  static int pad(int size) { return (size + width - 1) / width * width; }

  // Blocks that share the irrep of a leg: one product of matrices.
  struct Group {
    Irrep irrep;
    int copies, dim, at;  // on the leg
    int others = 0;       // pairs of copies on the other legs, of all blocks
    int padded = 0;       // ... in whole registers
    long factor_at = 0;   // where its factors (dim, padded) begin
    int product_at = 0;   // where its products (copies, padded) begin in a row
  };

  // A row from the products of its legs; those of a channel follow each other.
  void put_together(const T* const from[3], T weight, T* row) const {
    const int *left = places_[0].data(), *right = places_[2].data();
    for (const Group& g : groups_[1])
      for (int n = 0; n < g.copies; ++n) {
        const T* const x = from[1] + g.product_at + n * g.padded;
        if (from[0] && from[2])
          for (int q = 0; q < g.others; ++q)
            row[q] = weight * (x[q] + from[0][left[q]] + from[2][right[q]]);
        else if (from[0])
          for (int q = 0; q < g.others; ++q) row[q] = weight * (x[q] + from[0][left[q]]);
        else if (from[2])
          for (int q = 0; q < g.others; ++q) row[q] = weight * (x[q] + from[2][right[q]]);
        else
          for (int q = 0; q < g.others; ++q) row[q] = weight * x[q];
        row += g.others, left += g.others, right += g.others;
      }
  }

  const BondLayout& side_bond(int side) const { return bonds_[side == 0 ? site_ : site_ + 1]; }

  void lay_out() {
    const auto& core = cores_[site_];
    for (std::size_t leg = 0; leg < 3; ++leg) {
      for (std::size_t k = 0; k < core.size(); ++k) {
        const CoupledBlock<T>& b = core[k];
        auto& groups = groups_[leg];
        std::size_t g = 0;
        while (g < groups.size() && !(groups[g].irrep == b.irreps[leg])) ++g;
        if (g == groups.size()) {
          Group made;
          made.irrep = b.irreps[leg], made.copies = b.copies[leg], made.dim = b.dims[leg];
          made.at = b.at[leg];
          groups.push_back(made);
        }
        group_of_[leg].push_back(g);
        place_[leg].push_back(groups[g].others);
        int others = 1;
        for (std::size_t i = 0; i < 3; ++i) others *= i == leg ? 1 : b.copies[i];
        groups[g].others += others;
      }
    }
    for (std::size_t leg = 0; leg < 3; ++leg)
      for (Group& g : groups_[leg]) {
        g.padded = pad(g.others);
        g.factor_at = factor_size_, g.product_at = spans_[leg];
        factor_size_ += long(g.dim) * g.padded, spans_[leg] += g.copies * g.padded;
      }
    operand_size_ = leg_size_ + side_size(0) + side_size(1);
    // Columns run over the irreps of the leg, then (n, block, a, c).
    std::vector<int> base;
    for (const Group& g : groups_[1]) {
      base.push_back(columns);
      columns += g.copies * g.others;
    }
    for (auto& places : places_) places.resize(std::size_t(columns));
    for (std::size_t k = 0; k < core.size(); ++k) {
      const CoupledBlock<T>& b = core[k];
      const std::size_t of_leg = group_of_[1][k];
      for (int a = 0; a < b.copies[0]; ++a)
        for (int n = 0; n < b.copies[1]; ++n)
          for (int c = 0; c < b.copies[2]; ++c) {
            const int column =
                base[of_leg] + n * groups_[1][of_leg].others + place_[1][k] + a * b.copies[2] + c;
            const int copy[3] = {a, n, c};
            const int other[3] = {n * b.copies[2] + c, a * b.copies[2] + c, a * b.copies[1] + n};
            for (std::size_t leg = 0; leg < 3; ++leg) {
              const Group& g = groups_[leg][group_of_[leg][k]];
              places_[leg][std::size_t(column)] =
                  g.product_at + copy[leg] * g.padded + place_[leg][k] + other[leg];
            }
          }
    }
  }

  // Values on the bond beside the site, and their Jacobian where it is dense, core by core.
  void side(int which, std::size_t from, std::size_t to, int element, std::vector<V>& here,
            const V* leg, Workspace& s) const {
    std::vector<V>& jacobian = s.jacobian[which];
    bool is_dense = false;
    for (std::size_t k = from; k != to; which == 0 ? ++k : --k) {
      const std::size_t in = which == 0 ? 0 : 2, out = 2 - in;
      const BondLayout& next = bonds_[which == 0 ? k + 1 : k];
      std::vector<V> value(std::size_t(next.size));
      if (k != from) {
        jacobian = is_dense ? moved(k, in, here, jacobian, leg, s)
                            : moved(k, in, here, end_maps(which, element), leg, s);
        is_dense = true;
      }
      for (const CoupledBlock<T>& b : cores_[k]) {
        mix(b, leg, s);
        for (int a = 0; a < b.copies[0]; ++a)
          for (int c = 0; c < b.copies[2]; ++c) {
            const V* const y = s.mixed.data() + (a * b.copies[2] + c) * b.dims[1];
            const int copy[3] = {a, 0, c};
            const V* const x = here.data() + b.at[in] + copy[in] * b.dims[in];
            V* const z = value.data() + b.at[out] + copy[out] * b.dims[out];
            for (const auto& e : b.entries) z[e.m[out]] += e.w * x[e.m[in]] * y[e.m[1]];
          }
      }
      here = std::move(value);
    }
  }

  // sum_n core[a, n, c] v[n] for all pairs of copies.
  void mix(const CoupledBlock<T>& b, const V* leg, Workspace& s) const {
    const int pairs = b.copies[0] * b.copies[2];
    s.mixed.resize(std::max(s.mixed.size(), std::size_t(pairs * b.dims[1])));
    RowProducts<T>::of(b.irreps[1].l)
        .set(b.by_pair.data(), pairs, b.copies[1], leg + b.at[1], s.mixed.data());
  }

  // out (rows, leg) += transfer (rows, from) times the Jacobian before.
  void carry(int rows, int from, const std::vector<V>& transfer, const std::vector<EndMap>& before,
             std::vector<V>& out) const {
    for (int r = 0; r < rows; ++r)
      for (const EndMap& p : before)
        for (int k = 0; k < p.copies; ++k)
          for (int m = 0; m < p.dim; ++m) {
            const V t = transfer[std::size_t(r * from + p.at + k * p.dim + m)];
            V* const y = out.data() + r * leg_size_ + p.leg_at + m;
            for (int n = 0; n < p.channels; ++n)
              y[n * p.dim] += p.matrix[std::size_t(k * p.channels + n)] * t;
          }
  }

  void carry(int rows, int from, const std::vector<V>& transfer, const std::vector<V>& before,
             std::vector<V>& out) const {
    for (int r = 0; r < rows; ++r)
      for (int k = 0; k < from; ++k) {
        const V t = transfer[std::size_t(r * from + k)];
        const V* const x = before.data() + k * leg_size_;
        V* const y = out.data() + r * leg_size_;
        for (int n = 0; n < leg_size_; ++n) y[n] += t * x[n];
      }
  }

  // The Jacobian behind core k from the one before it.
  template <class Before>
  std::vector<V> moved(std::size_t k, std::size_t in, const std::vector<V>& here,
                       const Before& before, const V* leg, Workspace& s) const {
    const std::size_t out = 2 - in;
    const BondLayout &from = bonds_[in == 0 ? k : k + 1], &next = bonds_[in == 0 ? k + 1 : k];
    std::vector<V> jacobian(std::size_t(next.size * leg_size_));
    s.transfer.assign(std::size_t(next.size * from.size), V{});
    std::vector<V> summed;
    for (const CoupledBlock<T>& b : cores_[k]) {
      mix(b, leg, s);
      for (int a = 0; a < b.copies[0]; ++a)
        for (int c = 0; c < b.copies[2]; ++c) {
          const V* const y = s.mixed.data() + (a * b.copies[2] + c) * b.dims[1];
          const int copy[3] = {a, 0, c};
          const int row = b.at[out] + copy[out] * b.dims[out],
                    column = b.at[in] + copy[in] * b.dims[in];
          for (const auto& e : b.entries)
            s.transfer[std::size_t((row + e.m[out]) * from.size + column + e.m[in])] +=
                e.w * y[e.m[1]];
        }
      // ... and by the leg of the core itself.
      const int n_out = b.copies[out], channels = b.copies[1];
      summed.resize(std::size_t(n_out * channels * b.dims[in]));
      RowProducts<T>::of(b.irreps[in].l)
          .set(b.by_channel[in == 0 ? 0 : 1].data(), n_out * channels, b.copies[in],
               here.data() + b.at[in], summed.data());
      for (int t = 0; t < n_out; ++t)
        for (int n = 0; n < channels; ++n) {
          const V* const x = summed.data() + (t * channels + n) * b.dims[in];
          for (const auto& e : b.entries)
            jacobian[std::size_t((b.at[out] + t * b.dims[out] + e.m[out]) * leg_size_ + b.at[1] +
                                 n * b.dims[1] + e.m[1])] += e.w * x[e.m[in]];
        }
    }
    carry(next.size, from.size, s.transfer, before, jacobian);
    return jacobian;
  }

  // Directions of a bond through the Jacobian of a lane, (leg, bond padded).
  void push_dense(int count, const BondLayout& bond, const std::vector<T>& jacobian, const T* leg,
                  T* to) const {
    const int padded = pad(bond.size);
    thread_local std::vector<T> sums;
    sums.resize(std::size_t(count * padded));
    for (int c = 0; c < count; c += 3)
      each_strip(padded, [&](auto vectors, int r) {
        through<decltype(vectors)::value>(count, c, jacobian.data() + r, padded, leg,
                                          sums.data() + c * padded + r);
      });
    int at = 0;
    for (const Term& term : bond.terms) {
      const int dim = term.irrep.dim();
      for (int m = 0; m < dim; ++m)
        for (int c = 0; c < count; ++c)
          for (int k = 0; k < term.multiplicity; ++k)
            to[count * (at + m * term.multiplicity) + c * term.multiplicity + k] =
                sums[std::size_t(c * padded + at + k * dim + m)];
      at += term.multiplicity * dim;
    }
  }

  // Three directions, from number `first` on, through some columns of a Jacobian.
  template <int Q>
  void through(int count, int first, const T* row, int padded, const T* leg, T* out) const {
    V sum[3][Q] = {};
    const auto& chain = evaluator_.chain();
    for (int l = 0; l < int(chain.leg_at.size()); ++l) {
      const int channels = chain.leg_channels[std::size_t(l)];
      for (int m = 0; m < 2 * l + 1; ++m, leg += count * channels) {
        const T* x = leg + first * channels;
        for (int n = 0; n < channels; ++n, ++x, row += padded) {
          V right[Q];
#pragma GCC unroll 4
          for (int j = 0; j < Q; ++j) std::memcpy(&right[j], row + j * width, sizeof(V));
#pragma GCC unroll 4
          for (int c = 0; c < 3; ++c)
#pragma GCC unroll 4
            for (int j = 0; j < Q; ++j) sum[c][j] += x[c * channels] * right[j];
        }
      }
    }
    for (int c = 0; c < 3; ++c)
      for (int j = 0; j < Q; ++j) std::memcpy(out + c * padded + j * width, &sum[c][j], sizeof(V));
  }

  // Calls visit(vectors, at) for strips of a row, of as many vectors as registers hold.
  template <class Visit>
  static void each_strip(int padded, const Visit& visit) {
    for (int at = 0; at < padded;) {
      const int left = (padded - at) / width;
      if (left >= wide)
        visit(std::integral_constant<int, wide>{}, at), at += wide * width;
      else if (left == 2)
        visit(std::integral_constant<int, 2>{}, at), at += 2 * width;
      else
        visit(std::integral_constant<int, 1>{}, at), at += width;
    }
  }

  // out (count, copies, others) = sum over parts and components; rows are `span` apart.
  static void multiply(int count, const Group& g, std::size_t slot, const std::vector<Part>& parts,
                       long span, T* out) {
    each_strip(g.padded, [&](auto vectors, int q) {
      columns_of<decltype(vectors)::value>(count, g, slot, parts, q, span, out + g.product_at);
    });
  }

  template <int Q>
  static void columns_of(int count, const Group& g, std::size_t slot,
                         const std::vector<Part>& parts, int q, long span, T* out) {
    // As many rows at a time as registers hold, in parts of one height or two.
    constexpr int most = (registers - 1 - Q) / Q < 12 ? (registers - 1 - Q) / Q : 12;
    const int x = count * g.copies, tiles = (x + most - 1) / most;
    for (int t = 0, i = 0; t < tiles; ++t) {
      const int height = x / tiles + (t < x % tiles);
      rows_of<most, Q>(height, i, x, g, count, slot, parts, q, span, out);
      i += height;
    }
  }

  // The tile of a height that is found at run time.
  template <int X, int Q, class... Rest>
  static void rows_of(int height, Rest&&... rest) {
    if constexpr (X > 0) {
      if (height == X)
        tile<X, Q>(rest...);
      else
        rows_of<X - 1, Q>(height, rest...);
    }
  }

  template <int X, int Q>
  static void tile(int first, int x, const Group& g, int count, std::size_t slot,
                   const std::vector<Part>& parts, int q, long span, T* out) {
    V sum[X][Q] = {};
    for (const Part& part : parts) {
      const T* a = part.operand[slot] + count * g.at + first;
      const T* b = part.factor + g.factor_at + q;
      for (int m = 0; m < g.dim; ++m, a += x, b += g.padded) {
        V right[Q];
#pragma GCC unroll 4
        for (int j = 0; j < Q; ++j) std::memcpy(&right[j], b + j * width, sizeof(V));
#pragma GCC unroll 12
        for (int i = 0; i < X; ++i)
#pragma GCC unroll 4
          for (int j = 0; j < Q; ++j) sum[i][j] += a[i] * right[j];
      }
    }
    for (int i = 0; i < X; ++i) {
      T* const row = out + (first + i) / g.copies * span + (first + i) % g.copies * g.padded + q;
      for (int j = 0; j < Q; ++j) std::memcpy(row + j * width, &sum[i][j], sizeof(V));
    }
  }

  const Evaluator<T>& evaluator_;
  std::size_t site_;
  int leg_size_;
  std::vector<BondLayout> bonds_;
  std::vector<std::vector<CoupledBlock<T>>> cores_;
  Side sides_[2] = {none, none};
  std::vector<Group> groups_[3];
  std::vector<std::size_t> group_of_[3];
  std::vector<int> place_[3];   // of a block among those of its group
  std::vector<int> places_[3];  // of a column in the row of products of a leg
  int spans_[3] = {};           // numbers in such a row
  long factor_size_ = 0, operand_size_ = 0;
};

}  // namespace ETN_TARGET
}  // namespace etn
