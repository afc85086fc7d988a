// The value of a chain of cores for the atoms of a block, and its gradient by their features.
//
// Every site is fed with the same leg v.  Bonds carry vectors of irreps: L_s left of site s + 1,
// from the element of the atom; R, of the last site alone, right of the one before.  That one is
// where both meet; what is left of it follows by going back through the sites.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "coupling.hpp"
#include "model_file.hpp"
#include "small_products.hpp"

namespace etn {
inline namespace ETN_TARGET {

// Where the irreps of a bond begin.
struct BondLayout {
  std::vector<Term> terms;
  int size = 0;

  explicit BondLayout(const std::vector<Term>& all) : terms(all) {
    for (const Term& term : terms) size += term.multiplicity * term.irrep.dim();
  }
  int at(const Irrep& irrep) const {
    int offset = 0;
    for (const Term& term : terms) {
      if (term.irrep == irrep) return offset;
      offset += term.multiplicity * term.irrep.dim();
    }
    throw Error("a core has a block that its bond does not have");
  }
};

// A block of a core: all pairs of copies on its two bonds.
template <class T>
struct Path {
  using V = Vec<T>;

  const RowProducts<T>* products;
  const Couple<V>* couple;
  double factor;          // of the core in its products
  std::vector<T> matrix;  // (copies left x copies right, channels), with the factor
  int left_copies, right_copies, channels, dims[3], at[3], order[3], place[3];
  double entries;

  // `places`: where the irreps begin on the left bond, the leg and the right bond.
  Path(const Block& block, const std::array<int, 3>& places, bool with_matrix = true) {
    const int l[3] = {block.irreps[0].l, block.irreps[1].l, block.irreps[2].l};
    products = &RowProducts<T>::of(l[1]);
    left_copies = block.multiplicities[0], channels = block.multiplicities[1];
    right_copies = block.multiplicities[2];
    const LegOrder legs(l[0], l[1], l[2]);
    for (int i = 0; i < 3; ++i) {
      dims[i] = 2 * l[i] + 1, at[i] = places[std::size_t(i)], order[i] = legs.order[i];
      place[order[i]] = i;
    }
    const int a1 = l[order[0]], a2 = l[order[1]], a3 = l[order[2]];
    couple = &etn::couple<V>(a1, a2, a3);
    const CouplingEntries all_entries = coupling_entries(a1, a2, a3);
    entries = double(all_entries.end() - all_entries.begin());
    factor = legs.factor;
    if (!with_matrix) return;
    for (int a = 0; a < left_copies; ++a)
      for (int c = 0; c < right_copies; ++c)
        for (int n = 0; n < channels; ++n)
          matrix.push_back(T(factor * block.values[(a * channels + n) * right_copies + c]));
  }

  int pairs() const { return left_copies * right_copies; }

  // g(wanted) += w x(others), of the three legs.
  void one(int wanted, const V* const x[3], V* g) const {
    const V* rest[2];
    for (int i = 0, k = 0; i < 3; ++i)
      if (order[i] != wanted) rest[k++] = x[order[i]];
    couple->one[place[wanted]](rest[0], rest[1], g);
  }
};

template <class T>
class ChainKernel {
 public:
  using V = Vec<T>;
  using Path = etn::Path<T>;

  // Where the components of the leg lie: channel n of degree l at leg_at[l] + n (2 l + 1).
  std::vector<int> leg_at, leg_channels;
  int leg_size = 0;

  explicit ChainKernel(const ModelFile& file) : ChainKernel(file, file) {}

  // Of another chain over the same basis.
  ChainKernel(const ModelFile& file, const StoredChain& chain) {
    const std::size_t sites = chain.cores.size();
    for (int l = 0; l <= file.l_max; ++l) {
      leg_at.push_back(leg_size);
      leg_channels.push_back(int(file.channels[std::size_t(l)].shape[2]) + (l == 0));
      leg_size += leg_channels.back() * (2 * l + 1);
    }
    for (std::size_t s = 1; s < sites; ++s) bonds_.push_back(Bond(chain.bonds[s]));
    first_.resize(file.elements.size());
    for (const Block& block : chain.cores.front())
      for (std::size_t z = 0; z < first_.size(); ++z) first_[z].push_back(end(block, 0, int(z)));
    for (const Block& block : chain.cores.back()) last_.push_back(end(block, 2, 0));
    std::stable_sort(last_.begin(), last_.end(),
                     [](const End& a, const End& b) { return a.dim < b.dim; });
    for (std::size_t s = 1; s + 1 < sites; ++s) {
      inner_.emplace_back();
      for (const Block& block : chain.cores[s]) {
        inner_.back().push_back(
            Path(block, {{bonds_[s - 1].at(block.irreps[0]), leg_of(block.irreps[1]),
                          bonds_[s].at(block.irreps[2])}}));
        const Path& p = inner_.back().back();
        widest_ = std::max(widest_, p.pairs() * p.dims[1]);
      }
    }
    int size = 0;
    for (Bond& bond : bonds_) {
      bond.value = size, bond.adjoint = size + bond.size;
      size += 2 * bond.size;
    }
    right_ = size, size += bonds_.back().size;
    by_right_ = size, size += bonds_.back().size;
    pairs_ = size, size += widest_;
    by_pairs_ = size, size += widest_;
    scratch_size = size;
  }

  int scratch_size = 0;

  // Returns the values, and adds the gradient to `gradient`; scratch holds scratch_size vectors.
  V evaluate(int element, const V* leg, V* gradient, V* scratch) const {
    const auto& first = first_[std::size_t(element)];
    const int last = int(bonds_.size()) - 1;
    V* const right = scratch + right_;
    V* const by_right = scratch + by_right_;
    from_left(element, leg, std::max(last - 1, 0), scratch);
    clear(right, bonds_[std::size_t(last)].size);
    for (const End& e : last_)
      e.products->set(e.matrix.data(), e.rows, e.columns, leg + e.leg, right + e.bond);
    const Bond& start = bonds_[0];
    if (last == 0) {
      // Two sites: the bond between them is where they meet.
      std::copy(right, right + start.size, scratch + start.adjoint);
      std::copy(scratch + start.value, scratch + start.value + start.size, by_right);
    } else {
      const Bond& left = bonds_[std::size_t(last) - 1];
      clear(scratch + left.adjoint, left.size);
      clear(by_right, bonds_[std::size_t(last)].size);
      meet(inner_.back(), scratch + left.value, scratch + left.adjoint, right, by_right, leg,
           gradient, scratch);
      for (int s = last - 2; s >= 0; --s)
        backward(inner_[std::size_t(s)], bonds_[std::size_t(s)], bonds_[std::size_t(s) + 1], leg,
                 gradient, scratch);
    }
    for (const End& e : first)
      e.products->transposed(e.matrix.data(), e.rows, e.columns, scratch + start.adjoint + e.bond,
                             gradient + e.leg);
    for (const End& e : last_)
      e.products->transposed(e.matrix.data(), e.rows, e.columns, by_right + e.bond,
                             gradient + e.leg);
    // The value is linear in the first bond.
    V value{};
    for (int i = 0; i < start.size; ++i)
      value += scratch[start.value + i] * scratch[start.adjoint + i];
    return value;
  }

  // Entries of the last core, in which the value is linear.
  int last_size() const {
    int size = 0;
    for (const End& e : last_) size += e.rows * e.columns;
    return size;
  }

  // Derivatives of the value by these: for each irrep, by rising degree, (copies, channels). One
  // piece of code for all callers, whose differences are then exactly zero where atoms are alike.
  __attribute__((noinline)) void by_last(int element, const V* leg, V* out, V* scratch) const {
    from_left(element, leg, int(inner_.size()), scratch);
    const V* const left = scratch + bonds_.back().value;
    for (const End& e : last_) {
      const T factor = T(1 / std::sqrt(double(e.dim)));
      for (int r = 0; r < e.rows; ++r)
        for (int n = 0; n < e.columns; ++n) {
          const V *const x = left + e.bond + r * e.dim, *const v = leg + e.leg + n * e.dim;
          V sum{};
          for (int m = 0; m < e.dim; ++m) sum += x[m] * v[m];
          *out++ = factor * sum;
        }
    }
  }

  // Multiply-adds of an evaluation, for each atom.
  double operations() const {
    double count = 0;
    for (const End& e : first_[0]) count += 2.0 * e.rows * e.columns * e.dim;
    for (const End& e : last_) count += 2.0 * e.rows * e.columns * e.dim;
    for (const auto& paths : inner_)
      for (const Path& p : paths)
        count += p.pairs() * (2.0 * p.channels * p.dims[1] + 5.0 * p.entries);
    return count;
  }

 private:
  // With places for the values on it and what they are multiplied with.
  struct Bond : BondLayout {
    int value = 0, adjoint = 0;

    using BondLayout::BondLayout;
  };

  // A core at an end of the chain: a linear map of the leg, degree by degree.
  struct End {
    const RowProducts<T>* products;
    std::vector<T> matrix;  // (rows, columns): copies on the bond, channels of the leg
    int rows, columns, leg, bond, dim;
  };

  static void clear(V* at, int size) { std::fill(at, at + size, V{}); }

  int leg_of(const Irrep& irrep) const {
    if (irrep.l >= int(leg_at.size())) throw Error("a core has a leg that the basis does not have");
    return leg_at[std::size_t(irrep.l)];
  }

  End end(const Block& block, int open, int element) const {
    const Irrep& irrep = block.irreps[1];
    const Bond& bond = open == 0 ? bonds_.front() : bonds_.back();
    const Irrep& other = block.irreps[2 - open];
    if (block.irreps[open].l != 0 || other.l != irrep.l)
      throw Error("an end of the chain is no scalar");
    End e;
    e.products = &RowProducts<T>::of(irrep.l);
    e.rows = block.multiplicities[std::size_t(2 - open)], e.columns = block.multiplicities[1];
    e.leg = leg_of(irrep), e.bond = bond.at(other), e.dim = irrep.dim();
    // The coupling of a scalar and two alike is one, or one over the root of the dimension.
    const double factor = open == 0 ? 1.0 : 1.0 / std::sqrt(double(irrep.dim()));
    for (int r = 0; r < e.rows; ++r)
      for (int n = 0; n < e.columns; ++n)
        e.matrix.push_back(
            T(factor * (open == 0 ? block.values[(element * e.columns + n) * e.rows + r]
                                  : block.values[r * e.columns + n])));
    return e;
  }

  // Values on the bonds from the first one to that behind so many inner sites.
  void from_left(int element, const V* leg, int sites, V* scratch) const {
    clear(scratch + bonds_[0].value, bonds_[0].size);
    for (const End& e : first_[std::size_t(element)])
      e.products->set(e.matrix.data(), e.rows, e.columns, leg + e.leg,
                      scratch + bonds_[0].value + e.bond);
    for (std::size_t s = 0; s < std::size_t(sites); ++s)
      forward(inner_[s], bonds_[s], bonds_[s + 1], leg, scratch);
  }

  void forward(const std::vector<Path>& paths, const Bond& from, const Bond& to, const V* leg,
               V* scratch) const {
    V* const mixed = scratch + pairs_;
    clear(scratch + to.value, to.size);
    for (const Path& p : paths) {
      p.products->set(p.matrix.data(), p.pairs(), p.channels, leg + p.at[1], mixed);
      for (int a = 0, k = 0; a < p.left_copies; ++a)
        for (int c = 0; c < p.right_copies; ++c, ++k) {
          const V* const x[3] = {scratch + from.value + p.at[0] + a * p.dims[0],
                                 mixed + k * p.dims[1], nullptr};
          p.one(2, x, scratch + to.value + p.at[2] + c * p.dims[2]);
        }
    }
  }

  void meet(const std::vector<Path>& paths, const V* left, V* by_left, const V* right, V* by_right,
            const V* leg, V* gradient, V* scratch) const {
    V* const mixed = scratch + pairs_;
    V* const by_mixed = scratch + by_pairs_;
    for (const Path& p : paths) {
      p.products->set(p.matrix.data(), p.pairs(), p.channels, leg + p.at[1], mixed);
      clear(by_mixed, p.pairs() * p.dims[1]);
      for (int a = 0, k = 0; a < p.left_copies; ++a)
        for (int c = 0; c < p.right_copies; ++c, ++k) {
          const V* const x[3] = {left + p.at[0] + a * p.dims[0], mixed + k * p.dims[1],
                                 right + p.at[2] + c * p.dims[2]};
          V* const g[3] = {by_left + p.at[0] + a * p.dims[0], by_mixed + k * p.dims[1],
                           by_right + p.at[2] + c * p.dims[2]};
          const int* o = p.order;
          p.couple->all(x[o[0]], x[o[1]], x[o[2]], g[o[0]], g[o[1]], g[o[2]]);
        }
      p.products->transposed(p.matrix.data(), p.pairs(), p.channels, by_mixed, gradient + p.at[1]);
    }
  }

  void backward(const std::vector<Path>& paths, const Bond& from, const Bond& to, const V* leg,
                V* gradient, V* scratch) const {
    V* const mixed = scratch + pairs_;
    V* const by_mixed = scratch + by_pairs_;
    clear(scratch + from.adjoint, from.size);
    for (const Path& p : paths) {
      p.products->set(p.matrix.data(), p.pairs(), p.channels, leg + p.at[1], mixed);
      clear(by_mixed, p.pairs() * p.dims[1]);
      for (int a = 0, k = 0; a < p.left_copies; ++a)
        for (int c = 0; c < p.right_copies; ++c, ++k) {
          const V* const x[3] = {scratch + from.value + p.at[0] + a * p.dims[0],
                                 mixed + k * p.dims[1],
                                 scratch + to.adjoint + p.at[2] + c * p.dims[2]};
          p.one(0, x, scratch + from.adjoint + p.at[0] + a * p.dims[0]);
          p.one(1, x, by_mixed + k * p.dims[1]);
        }
      p.products->transposed(p.matrix.data(), p.pairs(), p.channels, by_mixed, gradient + p.at[1]);
    }
  }

  std::vector<Bond> bonds_;
  std::vector<std::vector<End>> first_;  // for each element
  std::vector<End> last_;
  std::vector<std::vector<Path>> inner_;
  int right_ = 0, by_right_ = 0, pairs_ = 0, by_pairs_ = 0, widest_ = 0;
};

}  // namespace ETN_TARGET
}  // namespace etn
