// Products with the transpose of the design of one core: what weights on rows ask of its entries.
//
// Rows weighted with numbers are, for each atom, a weight e of its energy and one direction dv of
// its leg, along which the environments L and R change by dL and dR.  So
//
//   sum of weighted rows = sum over atoms of  w (L (e v + dv) R + dL v R + L v dR),
//
// which takes a few evaluations of the chain and forms no row; see design.hpp for the letters.
#pragma once

#include <array>
#include <cstring>
#include <vector>

#include "etn.h"
#include "evaluator.hpp"

namespace etn {
inline namespace ETN_TARGET {

template <class T>
class Pull {
 public:
  using V = Vec<T>;

  // weights: of the energies of frames, the force components of atoms, and strain derivatives.
  Pull(const ModelFile& file, const Evaluator<T>& evaluator, std::size_t site,
       const etn_neighbors& lists, const etn_rows_wanted& wanted, const double* weights)
      : evaluator_(evaluator), site_(site), lists_(lists), wanted_(wanted) {
    if (site >= file.cores.size()) throw Error("site: expected one of the chain");
    for (const auto& terms : file.bonds) bonds_.push_back(BondLayout(terms));
    if (bonds_.front().size != n_elements() || bonds_.back().size != 1)
      throw Error("expected a chain from one scalar for each element to a scalar");
    const auto& leg_at = evaluator.chain().leg_at;
    for (std::size_t s = 0; s < file.cores.size(); ++s) {
      cores_.emplace_back();
      for (const Block& block : file.cores[s]) {
        const int l = block.irreps[1].l;
        if (l >= int(leg_at.size())) throw Error("a core has a leg that the basis does not have");
        const std::array<int, 3> places{{bonds_[s].at(block.irreps[0]), leg_at[std::size_t(l)],
                                         bonds_[s + 1].at(block.irreps[2])}};
        cores_.back().emplace_back(block, places, s != site);
      }
    }
    lay_out(file.cores[site]);
    read(weights);
  }

  // The atoms of one element in the lanes, by their numbers among the centers.
  template <class Visit>
  void take(int element, int atoms, const long* centers, const Visit& visit) {
    typename Evaluator<T>::Scratch& s = scratch_;
    evaluator_.features(element, atoms, s, visit);
    AtomBlock& block = next(element);
    V weight{};
    if (wanted_.energy)
      for (int lane = 0; lane < atoms; ++lane) {
        const double own = energy_[std::size_t(lists_.frame[lists_.center[centers[lane]]])];
        weight[lane] = T(own);
        vacuum_[std::size_t(element)] += own;
      }
    block.leg = s.leg;
    change_leg(element, atoms, centers, block);
    enter(block, weight);
  }

  // The sum, in the order of the columns of a design.
  void write(T* out) {
    // Energies count from those of atoms without neighbours.
    for (int z = 0; z < n_elements(); ++z) {
      if (!wanted_.energy) break;
      AtomBlock& block = next(z);
      block.leg.assign(std::size_t(leg_size()), V{});
      block.along.assign(std::size_t(leg_size()), V{});
      block.leg[0] = all<T>(1);
      V weight{};
      weight[0] = T(-vacuum_[std::size_t(z)]);
      enter(block, weight);
    }
    flush();
    for (std::size_t k = 0; k < cores_[site_].size(); ++k) {
      const Path<T>& p = cores_[site_][k];
      for (int n = 0; n < p.channels; ++n)
        for (int q = 0; q < p.pairs(); ++q) {
          const long column = places_[k].first + long(n) * places_[k].stride + q;
          const V& sum = sums_[std::size_t(column)];
          T total = 0;
          for (int lane = 0; lane < Lanes<T>::width; ++lane) total += sum[lane];
          out[column] = T(p.factor) * total;
        }
    }
  }

 private:
  // A register of atoms: their legs and what is on the bonds beside the core, with the changes.
  struct AtomBlock {
    int element;
    std::vector<V> leg, along, left, right, left_change, right_change;
  };

  // Blocks that are summed over while a sum is in the registers: it may be long.
  static constexpr std::size_t together = 8;

  // Where the entries of a path lie among the columns: those of channel n at first + n stride.
  struct Place {
    long first, stride;
  };

  int n_elements() const { return int(evaluator_.elements.size()); }
  int leg_size() const { return evaluator_.chain().leg_size; }

  // Columns run over the irreps of the leg, then (n, path, a, c).
  void lay_out(const std::vector<Block>& blocks) {
    places_.resize(blocks.size());
    std::vector<bool> done(blocks.size(), false);
    long columns = 0;
    for (std::size_t k = 0; k < blocks.size(); ++k) {
      if (done[k]) continue;
      long others = 0;
      for (std::size_t j = k; j < blocks.size(); ++j)
        if (blocks[j].irreps[1] == blocks[k].irreps[1]) {
          done[j] = true;
          places_[j].first = columns + others;
          others += cores_[site_][j].pairs();
        }
      for (std::size_t j = k; j < blocks.size(); ++j)
        if (blocks[j].irreps[1] == blocks[k].irreps[1]) places_[j].stride = others;
      columns += others * blocks[k].multiplicities[1];
    }
    sums_.assign(std::size_t(columns), V{});
  }

  void read(const double* weights) {
    const long frames = lists_.n_frames;
    vacuum_.assign(evaluator_.elements.size(), 0.0);
    if (wanted_.energy) energy_.assign(weights, weights + frames), weights += frames;
    // A force is minus the derivative by a position.
    moved_.assign(std::size_t(3 * lists_.n_atoms), 0.0);
    for (long k = 0; k < wanted_.n_atoms; ++k, weights += 3) {
      const long atom = wanted_.atom[k];
      if (atom < 0 || atom >= lists_.n_atoms) throw Error("atom: a number is out of range");
      for (int axis = 0; axis < 3; ++axis) moved_[std::size_t(3 * atom + axis)] -= weights[axis];
    }
    if (!wanted_.strain) return;
    // A neighbour moves along one axis by its distance along another.
    static const int first[] = {0, 1, 2, 1, 0, 0}, second[] = {0, 1, 2, 2, 2, 1};
    strain_.assign(std::size_t(9 * frames), 0.0);
    for (long f = 0; f < frames; ++f)
      for (int v = 0; v < 6; ++v)
        strain_[std::size_t(9 * f + 3 * first[v] + second[v])] = weights[6 * f + v];
  }

  AtomBlock& next(int element) {
    if (used_ == together) flush();
    if (blocks_.size() == used_) blocks_.emplace_back();
    AtomBlock& block = blocks_[used_++];
    block.element = element;
    return block;
  }

  // How a neighbour in the lanes moves, seen from its atoms.
  void motion(int atoms, const long* centers, long row, const V* near, V* d) const {
    constexpr int width = Lanes<T>::width;
    for (int axis = 0; axis < 3; ++axis) d[axis] = V{};
    for (int lane = 0; lane < atoms; ++lane) {
      const long other = scratch_.neighbor[std::size_t(row * width + lane)];
      if (other < 0) continue;
      const long atom = lists_.center[centers[lane]];
      for (int axis = 0; axis < 3; ++axis)
        d[axis][lane] =
            T(moved_[std::size_t(3 * other + axis)] - moved_[std::size_t(3 * atom + axis)]);
      if (!wanted_.strain) continue;
      const double* const e = strain_.data() + 9 * lists_.frame[atom];
      for (int axis = 0; axis < 3; ++axis)
        for (int k = 0; k < 3; ++k)
          d[axis][lane] += T(e[3 * axis + k] * double(near[3][lane] * near[k][lane]));
    }
  }

  // The change of the leg when all atoms move.
  void change_leg(int element, int atoms, const long* centers, AtomBlock& block) {
    typename Evaluator<T>::Scratch& s = scratch_;
    const auto &chain = evaluator_.chain(), &harmonics = evaluator_.harmonics();
    const auto& radial = evaluator_.radial();
    const int n_max = radial.n_max, n_y = harmonics.size(), step = n_max + n_y;
    block.along.assign(std::size_t(leg_size()), V{});
    gradients_.resize(std::size_t(3 * n_y));
    const V* near = s.near.data();
    long row = 0;
    for (int z = 0; z < n_elements(); ++z) {
      const int count = s.count[std::size_t(z)];
      if (!count || !evaluator_.has_met(element, z)) {
        near += count * evaluator_.stride(), row += count;
        continue;
      }
      // Two terms of the product rule, as if they were two neighbours.
      terms_.resize(std::size_t(2 * count * step));
      V* to = terms_.data();
      for (int k = 0; k < count; ++k, ++row, near += evaluator_.stride(), to += 2 * step) {
        const V *f = near + 5, *slope = f + n_max, *y = slope + n_max;
        V d[3];
        motion(atoms, centers, row, near, d);
        const V along = d[0] * near[0] + d[1] * near[1] + d[2] * near[2];
        for (int axis = 0; axis < 3; ++axis) d[axis] = (d[axis] - along * near[axis]) * near[4];
        harmonics.gradients(near[0], near[1], near[2], gradients_.data());
        std::copy(f, f + n_max, to);
        for (int lm = 0; lm < n_y; ++lm) {
          const V* const t = gradients_.data() + 3 * lm;
          to[n_max + lm] = t[0] * d[0] + t[1] * d[1] + t[2] * d[2];
        }
        for (int n = 0; n < n_max; ++n) to[step + n] = slope[n] * along;
        std::copy(y, y + n_y, to + step + n_max);
      }
      for (int l = 0; l <= harmonics.l_max; ++l) {
        const auto& products = RowProducts<T>::of(l);
        products.outer(terms_.data(), terms_.data() + n_max + l * l, step, 2 * count, n_max,
                       s.sums.data());
        const auto& matrix = radial.folded[std::size_t(z)][std::size_t(l)];
        products.add(matrix.data(), int(matrix.size()) / n_max, n_max, s.sums.data(),
                     block.along.data() + chain.leg_at[std::size_t(l)] + (l == 0));
      }
    }
  }

  // Environments of a block whose legs are there; its direction takes what the energies weigh.
  void enter(AtomBlock& block, V weight) {
    block.left.assign(std::size_t(bonds_.front().size), V{});
    block.left[std::size_t(block.element)] = all<T>(1);
    block.left_change.assign(block.left.size(), V{});
    for (std::size_t k = 0; k < site_; ++k)
      pass(cores_[k], 0, bonds_[k + 1], k == 0, block, block.left, block.left_change);
    block.right.assign(1, all<T>(1));
    block.right_change.assign(1, V{});
    for (std::size_t k = cores_.size() - 1; k > site_; --k)
      pass(cores_[k], 2, bonds_[k], k + 1 == cores_.size(), block, block.right, block.right_change);
    for (std::size_t i = 0; i < block.leg.size(); ++i) block.along[i] += weight * block.leg[i];
  }

  // From the bond on one side of a core to the other, with the change.
  void pass(const std::vector<Path<T>>& core, int in, const BondLayout& to, bool is_first,
            const AtomBlock& block, std::vector<V>& value, std::vector<V>& change) {
    const int out = 2 - in;
    value_.assign(std::size_t(to.size), V{});
    change_.assign(std::size_t(to.size), V{});
    for (const Path<T>& p : core) {
      const std::size_t size = std::size_t(p.pairs() * p.dims[1]);
      mixed_.resize(2 * size);
      V *const own = mixed_.data(), *const moved = own + size;
      p.products->set(p.matrix.data(), p.pairs(), p.channels, block.leg.data() + p.at[1], own);
      p.products->set(p.matrix.data(), p.pairs(), p.channels, block.along.data() + p.at[1], moved);
      for (int a = 0, k = 0; a < p.left_copies; ++a)
        for (int c = 0; c < p.right_copies; ++c, ++k) {
          // Only the element of the atom feeds the first core.
          if (is_first && in == 0 && a != block.element) continue;
          const int copy[3] = {a, 0, c};
          const int from = p.at[in] + copy[in] * p.dims[in];
          const int at = p.at[out] + copy[out] * p.dims[out];
          const V* x[3];
          x[in] = value.data() + from, x[1] = own + k * p.dims[1], x[out] = nullptr;
          p.one(out, x, value_.data() + at);
          x[1] = moved + k * p.dims[1];
          p.one(out, x, change_.data() + at);
          if (is_first) continue;
          x[in] = change.data() + from, x[1] = own + k * p.dims[1];
          p.one(out, x, change_.data() + at);
        }
    }
    value.swap(value_);
    change.swap(change_);
  }

  // Adds what the blocks give to the sums, a few pairs of copies after the other.
  void flush() {
    for (std::size_t k = 0; k < cores_[site_].size(); ++k) {
      const Path<T>& p = cores_[site_][k];
      int q = 0;
      for (; q + 4 <= p.pairs(); q += 4) columns_of<4>(p, places_[k], q);
      for (; q < p.pairs(); ++q) columns_of<1>(p, places_[k], q);
    }
    used_ = 0;
  }

  template <int Q>
  void columns_of(const Path<T>& p, const Place& place, int first) {
    const int dim = p.dims[1];
    // (block, term, m, pair): what the direction is multiplied with, and the leg.
    factors_.resize(used_ * std::size_t(2 * dim * Q));
    V* to = factors_.data();
    for (std::size_t g = 0; g < used_; ++g, to += 2 * dim * Q) {
      const AtomBlock& b = blocks_[g];
      for (int i = 0; i < Q; ++i) {
        const int a = (first + i) / p.right_copies, c = (first + i) % p.right_copies;
        const int left = p.at[0] + a * p.dims[0], right = p.at[2] + c * p.dims[2];
        V own[13] = {}, moved[13] = {};
        const V* x[3] = {b.left.data() + left, nullptr, b.right.data() + right};
        p.one(1, x, own);
        x[0] = b.left_change.data() + left;
        p.one(1, x, moved);
        x[0] = b.left.data() + left, x[2] = b.right_change.data() + right;
        p.one(1, x, moved);
        for (int m = 0; m < dim; ++m) to[m * Q + i] = own[m], to[(dim + m) * Q + i] = moved[m];
      }
    }
    int n = 0;
    for (; n + 4 <= p.channels; n += 4) tile<4, Q>(p, place, first, n);
    for (; n < p.channels; ++n) tile<1, Q>(p, place, first, n);
  }

  template <int N, int Q>
  void tile(const Path<T>& p, const Place& place, int first, int n) {
    const int dim = p.dims[1];
    V sum[N][Q] = {};
    const V* right = factors_.data();
    for (std::size_t g = 0; g < used_; ++g)
      for (const std::vector<V>* leg : {&blocks_[g].along, &blocks_[g].leg}) {
        const V* const left = leg->data() + p.at[1] + n * dim;
        for (int m = 0; m < dim; ++m, right += Q)
#pragma GCC unroll 4
          for (int i = 0; i < N; ++i)
#pragma GCC unroll 4
            for (int j = 0; j < Q; ++j) sum[i][j] += left[i * dim + m] * right[j];
      }
    for (int i = 0; i < N; ++i)
      for (int j = 0; j < Q; ++j)
        sums_[std::size_t(place.first + (n + i) * place.stride + first + j)] += sum[i][j];
  }

  const Evaluator<T>& evaluator_;
  const std::size_t site_;
  const etn_neighbors& lists_;
  const etn_rows_wanted& wanted_;
  std::vector<BondLayout> bonds_;
  std::vector<std::vector<Path<T>>> cores_;
  std::vector<Place> places_;
  std::vector<double> energy_, moved_, strain_, vacuum_;
  std::vector<AtomBlock> blocks_;
  std::size_t used_ = 0;
  std::vector<V> sums_, factors_, terms_, gradients_, mixed_, value_, change_;
  typename Evaluator<T>::Scratch scratch_;
};

}  // namespace ETN_TARGET
}  // namespace etn
