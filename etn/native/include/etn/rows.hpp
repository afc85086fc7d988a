// Rows of a batch of atoms: energies of frames, forces on atoms and strain derivatives of frames.
#pragma once

#include <memory>
#include <vector>

#include "design.hpp"
#include "etn.h"

namespace etn {
inline namespace ETN_TARGET {

// Numbers that keep their place while more of them are asked for; the memory is used again.
template <class T>
class Pool {
 public:
  T* take(long size) {
    while (at_ < chunks_.size() && used_ + size > chunks_[at_].size) ++at_, used_ = 0;
    if (at_ == chunks_.size()) {
      const long length = std::max(size, long(1) << 17);
      chunks_.push_back({std::unique_ptr<T[]>(new T[std::size_t(length)]), length});
    }
    T* const found = chunks_[at_].numbers.get() + used_;
    used_ += size;
    return found;
  }

  void clear() { at_ = 0, used_ = 0; }

 private:
  struct Chunk {
    std::unique_ptr<T[]> numbers;
    long size;
  };
  std::vector<Chunk> chunks_;
  std::size_t at_ = 0;
  long used_ = 0;
};

template <class T>
class DesignRows {
 public:
  using V = Vec<T>;
  using Part = typename Design<T>::Part;

  DesignRows(const Evaluator<T>& evaluator, const Design<T>& design, const etn_neighbors& lists,
             const etn_rows_wanted& wanted, Pool<T>& pool)
      : pool_(pool),
        evaluator_(evaluator),
        design_(design),
        lists_(lists),
        wanted_(wanted),
        leg_size_(evaluator.chain().leg_size),
        of_atom_(std::size_t(lists.n_atoms), -1),
        by_atom_(std::size_t(wanted.n_atoms)),
        by_energy_(std::size_t(lists.n_frames)),
        by_strain_(std::size_t(lists.n_frames)),
        vacuum_(evaluator.elements.size()),
        counts_(std::size_t(lists.n_frames) * evaluator.elements.size(), 0) {
    for (long k = 0; k < wanted.n_atoms; ++k) {
      if (wanted.atom[k] < 0 || wanted.atom[k] >= lists.n_atoms)
        throw Error("atom: a number is out of range");
      of_atom_[std::size_t(wanted.atom[k])] = k;
    }
  }

  // The atoms of one element in the lanes, by their numbers among the centers.
  template <class Visit>
  void take(int element, int atoms, const long* centers, const Visit& visit) {
    typename Evaluator<T>::Scratch& s = scratch_;
    evaluator_.features(element, atoms, s, visit);
    T* factors[Lanes<T>::width];
    for (int lane = 0; lane < atoms; ++lane) factors[lane] = pool_.take(design_.factor_size());
    design_.prepare(element, atoms, s.leg.data(), block_, factors);
    if (wanted_.energy) take_energies(element, atoms, centers, factors);
    expand(element);
    own_.assign(std::size_t(atoms * 3 * leg_size_), T(0));
    strain_.assign(std::size_t(wanted_.strain ? atoms * 6 * leg_size_ : 0), T(0));
    // One lane after the other, as each has a Jacobian of its own.
    for (int lane = 0; lane < atoms; ++lane) {
      const long atom = lists_.center[centers[lane]];
      const long self = of_atom_[std::size_t(atom)];
      design_.select(lane, block_);
      T* const own = own_.data() + lane * 3 * leg_size_;
      T* const strain = strain_.data() + (wanted_.strain ? lane * 6 * leg_size_ : 0);
      long row = 0;
      bool any = false;
      const V* near = s.near.data();
      for (int z = 0; z < int(evaluator_.elements.size()); ++z)
        for (int k = 0; k < s.count[std::size_t(z)]; ++k, ++row, near += evaluator_.stride()) {
          const std::size_t at = std::size_t(row * Lanes<T>::width + lane);
          if (s.slot[at] < 0 || !evaluator_.has_met(element, z)) continue;
          const long other = s.neighbor[at];
          // An image of the atom itself moves with it.
          const long moved = other == atom ? -1 : of_atom_[std::size_t(other)];
          const bool pulls = self >= 0 && other != atom;
          if (moved < 0 && !pulls && !wanted_.strain) continue;
          T* out[3];
          if (moved >= 0) {
            operands(3, out);
          } else {
            spare_.resize(std::size_t(3 * leg_size_));
            out[0] = spare_.data();
          }
          direction(lane, row, out[0]);
          if (pulls) {
            any = true;
            for (int i = 0; i < 3 * leg_size_; ++i) own[i] -= out[0][i];
          }
          if (wanted_.strain) add_strain(near, lane, out[0], strain);
          if (moved < 0) continue;
          design_.push(3, block_, out);
          by_atom_[std::size_t(moved)].push_back({{{out[0], out[1], out[2]}}, factors[lane]});
        }
      if (self >= 0 && any) finish(3, own, factors[lane], by_atom_[std::size_t(self)]);
      if (wanted_.strain)
        finish(6, strain, factors[lane], by_strain_[std::size_t(lists_.frame[atom])]);
    }
  }

  // Rows of energies, forces and strains, in this order.
  void write(T* rows) {
    std::fill(rows, rows + n_rows() * design_.columns, T(0));
    if (wanted_.energy) {
      for (long f = 0; f < lists_.n_frames; ++f) add_vacuum(f);
      design_.add(1, by_energy_, false, rows);
      rows += lists_.n_frames * design_.columns;
    }
    design_.add(3, by_atom_, true, rows);
    rows += 3 * wanted_.n_atoms * design_.columns;
    if (wanted_.strain) design_.add(6, by_strain_, true, rows);
  }

  long n_rows() const {
    return (wanted_.energy ? lists_.n_frames : 0) + 3 * wanted_.n_atoms +
           (wanted_.strain ? 6 * lists_.n_frames : 0);
  }

 private:
  void operands(int count, T** out) {
    T* const found = pool_.take(count * design_.operand_size());
    out[0] = found, out[1] = found + count * leg_size_;
    out[2] = out[1] + count * design_.side_size(0);
  }

  void finish(int count, const T* leg, const T* factor, std::vector<Part>& parts) {
    T* out[3];
    operands(count, out);
    std::copy(leg, leg + count * leg_size_, out[0]);
    design_.push(count, block_, out);
    parts.push_back({{{out[0], out[1], out[2]}}, factor});
  }

  // Minus the derivative of the leg when a neighbour moves, (m, axis, channel) for each degree.
  void direction(int lane, long row, T* out) const {
    const auto& chain = evaluator_.chain();
    const long place = row * Lanes<T>::width + lane;
    const T* value = radial_.data() + place * n_radial_;
    const T* angle = angular_.data() + place * 6 * n_y();
    for (int l = 0; l < int(chain.leg_at.size()); ++l) {
      const int constant = l == 0, n = chain.leg_channels[std::size_t(l)] - constant;
      const T* const slope = value + n;
      for (int m = 0; m < 2 * l + 1; ++m, angle += 6)
        for (int axis = 0; axis < 3; ++axis) {
          if (constant) *out++ = T(0);
          for (int k = 0; k < n; ++k)
            out[k] = -(angle[axis] * slope[k] + angle[3 + axis] * value[k]);
          out += n;
        }
      value += 2 * n;
    }
  }

  int n_y() const { return evaluator_.harmonics().size(); }

  // Of all neighbours in the lanes: radial functions of the channels and their slopes; harmonics
  // times the unit vector, and their gradients across it.
  void expand(int element) {
    constexpr int width = Lanes<T>::width;
    const auto& chain = evaluator_.chain();
    const int n_max = evaluator_.radial().n_max;
    const V* near = scratch_.near.data();
    n_radial_ = 0;
    for (std::size_t l = 0; l < chain.leg_at.size(); ++l)
      n_radial_ += 2 * (chain.leg_channels[l] - (l == 0));
    std::size_t rows = 0;
    for (const int count : scratch_.count) rows += std::size_t(count);
    radial_.resize(rows * width * std::size_t(n_radial_));
    angular_.resize(rows * width * std::size_t(6 * n_y()));
    gradients_.resize(std::size_t(3 * n_y()));
    mixed_.resize(std::size_t(n_radial_));
    T *radial = radial_.data(), *angular = angular_.data();
    for (int z = 0; z < int(evaluator_.elements.size()); ++z)
      for (int k = 0; k < scratch_.count[std::size_t(z)]; ++k, near += evaluator_.stride(),
               radial += width * n_radial_, angular += width * 6 * n_y()) {
        if (!evaluator_.has_met(element, z)) continue;
        const V *f = near + 5, *slope = f + n_max, *y = slope + n_max;
        V* to = mixed_.data();
        for (std::size_t l = 0; l < chain.leg_at.size(); ++l) {
          const int n = chain.leg_channels[l] - (l == 0);
          const T* const matrix = evaluator_.radial().folded[std::size_t(z)][l].data();
          RowProducts<T>::of(0).set(matrix, n, n_max, f, to);
          RowProducts<T>::of(0).set(matrix, n, n_max, slope, to + n);
          to += 2 * n;
        }
        for (int i = 0; i < n_radial_; ++i)
          for (int lane = 0; lane < width; ++lane)
            radial[lane * n_radial_ + i] = mixed_[std::size_t(i)][lane];
        evaluator_.harmonics().gradients(near[0], near[1], near[2], gradients_.data());
        for (int lm = 0; lm < n_y(); ++lm) {
          const V* const t = gradients_.data() + 3 * lm;
          const V along = t[0] * near[0] + t[1] * near[1] + t[2] * near[2];
          for (int axis = 0; axis < 3; ++axis) {
            const V over = near[axis] * y[lm], across = (t[axis] - along * near[axis]) * near[4];
            for (int lane = 0; lane < width; ++lane) {
              T* const at = angular + (lane * n_y() + lm) * 6 + axis;
              at[0] = over[lane], at[3] = across[lane];
            }
          }
        }
      }
  }

  // dE/d epsilon in Voigt order: the neighbour moves along one axis by its distance along another.
  void add_strain(const V* near, int lane, const T* leg, T* strain) const {
    static const int first[] = {0, 1, 2, 1, 0, 0}, second[] = {0, 1, 2, 2, 2, 1};
    const auto& chain = evaluator_.chain();
    T d[3];
    for (int axis = 0; axis < 3; ++axis) d[axis] = near[3][lane] * near[axis][lane];
    for (int l = 0; l < int(chain.leg_at.size()); ++l) {
      const int n = chain.leg_channels[std::size_t(l)];
      for (int m = 0; m < 2 * l + 1; ++m, leg += 3 * n)
        for (int v = 0; v < 6; ++v, strain += n)
          for (int k = 0; k < n; ++k) strain[k] -= d[second[v]] * leg[first[v] * n + k];
    }
  }

  void take_energies(int element, int atoms, const long* centers, T* const* factors) {
    const auto& chain = evaluator_.chain();
    for (int lane = 0; lane < atoms; ++lane) {
      T* const leg = pool_.take(leg_size_);
      for (int l = 0; l < int(chain.leg_at.size()); ++l) {
        const int n = chain.leg_channels[std::size_t(l)], at = chain.leg_at[std::size_t(l)];
        for (int m = 0; m < 2 * l + 1; ++m)
          for (int k = 0; k < n; ++k)
            leg[at + m * n + k] = scratch_.leg[std::size_t(at + k * (2 * l + 1) + m)][lane];
      }
      const long frame = lists_.frame[lists_.center[centers[lane]]];
      by_energy_[std::size_t(frame)].push_back({{{leg, nullptr, nullptr}}, factors[lane]});
      ++counts_[std::size_t(frame) * vacuum_.size() + std::size_t(element)];
    }
  }

  // Energies count from those of atoms without neighbours.
  void add_vacuum(long frame) {
    for (std::size_t z = 0; z < vacuum_.size(); ++z) {
      const int count = counts_[std::size_t(frame) * vacuum_.size() + z];
      if (!count) continue;
      if (!vacuum_[z]) {
        std::vector<V> leg(static_cast<std::size_t>(leg_size_));
        leg[0] = all<T>(1);
        vacuum_[z] = pool_.take(design_.factor_size());
        design_.prepare(int(z), 1, leg.data(), block_, &vacuum_[z]);
      }
      T* const leg = pool_.take(leg_size_);
      std::fill(leg, leg + leg_size_, T(0));
      leg[0] = T(-count);
      by_energy_[std::size_t(frame)].push_back({{{leg, nullptr, nullptr}}, vacuum_[z]});
    }
  }

  Pool<T>& pool_;
  const Evaluator<T>& evaluator_;
  const Design<T>& design_;
  const etn_neighbors& lists_;
  const etn_rows_wanted& wanted_;
  const int leg_size_;
  std::vector<long> of_atom_;
  std::vector<std::vector<Part>> by_atom_, by_energy_, by_strain_;
  std::vector<T*> vacuum_;
  std::vector<int> counts_;
  typename Evaluator<T>::Scratch scratch_;
  typename Design<T>::Workspace block_;
  std::vector<T> own_, strain_, spare_, radial_, angular_;
  std::vector<V> gradients_, mixed_;
  int n_radial_ = 0;
};

}  // namespace ETN_TARGET
}  // namespace etn
