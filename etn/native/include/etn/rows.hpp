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
    const long size = design_.operand_size();
    own_.resize(std::size_t(3 * size)), strain_.resize(std::size_t(6 * size));
    spare_.resize(std::size_t(3 * size + Lanes<T>::width));
    // One lane after the other, as each has a Jacobian of its own.
    for (int lane = 0; lane < atoms; ++lane) {
      const long atom = lists_.center[centers[lane]];
      const long self = of_atom_[std::size_t(atom)];
      design_.select(lane, block_);
      std::fill(own_.begin(), own_.end(), T(0));
      if (wanted_.strain) std::fill(strain_.begin(), strain_.end(), T(0));
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
          operands(3, moved < 0 ? spare_.data() : pool_.take(3 * size + Lanes<T>::width), out);
          direction(lane, row, out);
          if (pulls) {
            any = true;
            T* sums[3];
            operands(3, own_.data(), sums);
            for (int part = 0; part < 3; ++part)
              for (long i = 0; i < 3 * known_[part]; ++i) sums[part][i] -= out[part][i];
          }
          if (wanted_.strain) add_strain(near, lane, out);
          if (moved < 0) continue;
          design_.push(3, block_, out);
          by_atom_[std::size_t(moved)].push_back({{{out[0], out[1], out[2]}}, factors[lane]});
        }
      if (self >= 0 && any) finish(3, own_, factors[lane], by_atom_[std::size_t(self)]);
      if (wanted_.strain)
        finish(6, strain_, factors[lane], by_strain_[std::size_t(lists_.frame[atom])]);
    }
  }

  // Rows of energies, forces and strains, in this order, times weights if there are any.
  void write(const double* weights, T* rows) {
    const auto next = [&](long count, const std::vector<std::vector<Part>>& parts, bool sides) {
      design_.add(int(count), parts, sides, weights, rows);
      rows += count * long(parts.size()) * design_.columns;
      if (weights) weights += count * long(parts.size());
    };
    if (wanted_.energy) {
      for (long f = 0; f < lists_.n_frames; ++f) add_vacuum(f);
      next(1, by_energy_, false);
    }
    next(3, by_atom_, true);
    if (wanted_.strain) next(6, by_strain_, true);
  }

 private:
  // A run of components of one irrep of the leg or of a linear side, `at` its first one.
  struct Run {
    int l, at, copies;
  };

  void operands(int count, T* first, T** out) const {
    out[0] = first, out[1] = out[0] + count * leg_size_;
    out[2] = out[1] + count * design_.side_size(0);
  }

  void finish(int count, const std::vector<T>& sums, const T* factor, std::vector<Part>& parts) {
    T* out[3];
    const long size = count * design_.operand_size();
    operands(count, pool_.take(size), out);
    std::copy(sums.data(), sums.data() + size, out[0]);
    design_.push(count, block_, out);
    parts.push_back({{{out[0], out[1], out[2]}}, factor});
  }

  // Minus the derivatives of the leg and of linear sides when a neighbour moves, (m, axis, copy)
  // for each irrep.  Whole registers are stored: what is too much is written over by what follows.
  void direction(int lane, long row, T* const out[3]) const {
    constexpr int width = Lanes<T>::width;
    const long place = row * width + lane;
    const T* value = radial_.data() + place * n_radial_;
    const T* const angles = angular_.data() + place * 6 * n_y();
    for (int part = 0; part < 3; ++part) {
      for (const Run& run : runs_[part]) {
        T* to = out[part] + 3 * run.at;
        const T *const slope = value + run.copies, *angle = angles + 6 * run.l * run.l;
        for (int m = 0; m < 2 * run.l + 1; ++m, angle += 6)
          for (int axis = 0; axis < 3; ++axis, to += run.copies)
            for (int k = 0; k < run.copies; k += width) {
              V v, s;
              std::memcpy(&v, value + k, sizeof(V)), std::memcpy(&s, slope + k, sizeof(V));
              v = -(angle[axis] * s + angle[3 + axis] * v);
              std::memcpy(to + k, &v, sizeof(V));
            }
        value += 2 * run.copies;
      }
      for (const auto& gap : gaps_[part])
        std::fill(out[part] + 3 * gap[0], out[part] + 3 * gap[1], T(0));
    }
  }

  int n_y() const { return evaluator_.harmonics().size(); }

  // The runs of the leg and of linear sides, how long they are, and what of them no run reaches.
  void find_runs(int element) {
    const auto& chain = evaluator_.chain();
    for (auto& runs : runs_) runs.clear();
    for (auto& gaps : gaps_) gaps.clear();
    for (int l = 0; l < int(chain.leg_at.size()); ++l)
      runs_[0].push_back({l, chain.leg_at[std::size_t(l)], chain.leg_channels[std::size_t(l)]});
    n_radial_ = 0, known_[0] = leg_size_;
    for (int side = 0; side < 2; ++side) {
      maps_[side].clear(), known_[1 + side] = 0;
      if (!design_.is_linear(side)) continue;
      maps_[side] = design_.end_maps(side, element);
      int end = 0;
      for (const auto& map : maps_[side]) {
        if (map.at > end) gaps_[1 + side].push_back({{end, map.at}});
        runs_[1 + side].push_back({(map.dim - 1) / 2, map.at, map.copies});
        end = map.at + map.copies * map.dim;
      }
      const int size = design_.side_size(side);
      if (size > end) gaps_[1 + side].push_back({{end, size}});
      known_[1 + side] = size;
    }
    for (const auto& runs : runs_)
      for (const Run& run : runs) n_radial_ += 2 * run.copies;
  }

  // Of all neighbours in the lanes: radial functions of the runs and their slopes; harmonics times
  // the unit vector, and their gradients across it.
  void expand(int element) {
    constexpr int width = Lanes<T>::width;
    const int n_max = evaluator_.radial().n_max;
    const V* near = scratch_.near.data();
    find_runs(element);
    std::size_t rows = 0;
    for (const int count : scratch_.count) rows += std::size_t(count);
    // Whole registers are read.
    radial_.resize(rows * width * std::size_t(n_radial_) + width);
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
        for (const Run& run : runs_[0]) {
          // The constant does not move.
          const int constant = run.l == 0, n = run.copies - constant;
          const T* const matrix =
              evaluator_.radial().folded[std::size_t(z)][std::size_t(run.l)].data();
          for (const V* x : {f, slope}) {
            if (constant) *to++ = V{};
            RowProducts<T>::of(0).set(matrix, n, n_max, x, to);
            to += n;
          }
        }
        for (const auto& maps : maps_)
          for (const auto& map : maps) {
            // Where the values of its degree begin: two for each channel of those before.
            const V* from = mixed_.data();
            for (const Run& run : runs_[0])
              if (run.l < (map.dim - 1) / 2) from += 2 * run.copies;
            for (int k = 0; k < 2; ++k, from += map.channels, to += map.copies)
              RowProducts<T>::of(0).set(map.matrix.data(), map.copies, map.channels, from, to);
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
  void add_strain(const V* near, int lane, T* const out[3]) {
    static const int first[] = {0, 1, 2, 1, 0, 0}, second[] = {0, 1, 2, 2, 2, 1};
    T d[3], *sums[3];
    for (int axis = 0; axis < 3; ++axis) d[axis] = near[3][lane] * near[axis][lane];
    operands(6, strain_.data(), sums);
    for (int part = 0; part < 3; ++part)
      for (const Run& run : runs_[part]) {
        const T* from = out[part] + 3 * run.at;
        T* to = sums[part] + 6 * run.at;
        for (int m = 0; m < 2 * run.l + 1; ++m, from += 3 * run.copies)
          for (int v = 0; v < 6; ++v, to += run.copies)
            for (int k = 0; k < run.copies; ++k)
              to[k] -= d[second[v]] * from[first[v] * run.copies + k];
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
  std::vector<Run> runs_[3];
  std::vector<std::array<int, 2>> gaps_[3];
  std::vector<typename Design<T>::EndMap> maps_[2];
  int n_radial_ = 0;
  long known_[3] = {};
};

}  // namespace ETN_TARGET
}  // namespace etn
