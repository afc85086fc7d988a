// Energies and forces of atoms by a polynomial potential, for lists of neighbours.
//
// Atoms of one element are taken in blocks, one in each lane: sums over neighbours, the chain and
// the way back to the neighbours need no exchange between lanes.  The neighbours of every element
// come one after the other; atoms with fewer of them get some beyond r_max, which say nothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "chain.hpp"
#include "covalent.hpp"
#include "harmonics.hpp"
#include "radial.hpp"

namespace etn {
inline namespace ETN_TARGET {

template <class T>
class Evaluator {
 public:
  using V = Vec<T>;
  static constexpr int width = Lanes<T>::width;

  explicit Evaluator(const ModelFile& file)
      : r_max(file.r_max),
        elements(file.elements),
        chain_(file),
        radial_(file),
        harmonics_(file.l_max),
        e0_(file.e0),
        zbl_(file.zbl),
        has_inner_(file.has_inner),
        has_floor_(file.has_floor) {
    const std::size_t n = elements.size();
    std::vector<int> numbers;
    for (const std::string& symbol : elements) numbers.push_back(atomic_number(symbol));
    for (std::size_t a = 0; a < n; ++a)
      for (std::size_t b = 0; b < n; ++b) {
        PairOfElements pair;
        const double covalent = covalent_radius(numbers[a]) + covalent_radius(numbers[b]);
        pair.z1 = numbers[a], pair.z2 = numbers[b];
        if (has_inner_) {
          const double closest = file.closest[a * n + b], onset = file.onset[a * n + b];
          pair.met = closest > 0;
          pair.unit = pair.met ? closest : covalent;
          pair.rest = 0.1 * closest, pair.onset = pair.met ? onset : 0;
          pair.zbl_end = std::min(pair.met && onset > 0 ? onset : r_max, r_max);
          pair.zbl_full = 0.8 * pair.zbl_end;
          pair.fullest = file.fullest[a * n + b];
          if (!(pair.fullest > 0)) throw Error("inner.fullest: expected numbers above zero");
        } else {
          pair.zbl_end = std::min(covalent, r_max), pair.zbl_full = 0.5 * pair.zbl_end;
        }
        pairs_.push_back(pair);
      }
    lowest_ = file.lowest, margin_ = file.margin;
    // What the chain says to an atom without neighbours is not counted.
    std::vector<V> leg(std::size_t(chain_.leg_size)), by_leg(leg.size()),
        scratch(std::size_t(chain_.scratch_size));
    leg[0] = all<T>(1);
    for (std::size_t z = 0; z < n; ++z)
      vacuum_.push_back(chain_.evaluate(int(z), leg.data(), by_leg.data(), scratch.data())[0]);
  }

  const double r_max;
  const std::vector<std::string> elements;

  // The memory of one thread.
  struct Scratch {
    std::vector<V> leg, by_leg, chain, sums, h, near, crowding, nearest;
    std::vector<long> neighbor, slot;
    std::vector<int> count;
  };

  // Features of the atoms, s.leg, how crowded they are by each element, and the distance to the
  // nearest neighbour of each, beyond r_max where there is none.
  template <class Visit>
  void features(int element, int atoms, Scratch& s, const Visit& visit) const {
    const int n_elements = int(elements.size()), n_max = radial_.n_max;
    gather(element, atoms, s, visit, stride());
    s.leg.assign(std::size_t(chain_.leg_size), V{});
    s.sums.resize(std::size_t(n_max * harmonics_.size()));
    s.crowding.assign(elements.size(), V{});
    s.nearest.assign(elements.size(), all<T>(T(2 * r_max)));
    s.leg[0] = all<T>(1);
    V* near = s.near.data();
    for (int z = 0; z < n_elements; ++z) {
      const PairOfElements& pair = pairs_[std::size_t(element * n_elements + z)];
      const int count = s.count[std::size_t(z)];
      V* const first = near;
      V& nearest = s.nearest[std::size_t(z)];
      for (int k = 0; k < count; ++k, near += stride()) {
        prepare(pair, near, s.crowding[std::size_t(z)]);
        nearest = smaller(near[3], nearest);
      }
      if (!count || !pair.met) continue;
      const V *f = first + 5, *y = f + 2 * n_max;
      for (int l = 0; l <= harmonics_.l_max; ++l) {
        const auto& products = RowProducts<T>::of(l);
        products.outer(f, y + l * l, stride(), count, n_max, s.sums.data());
        const auto& matrix = radial_.folded[std::size_t(z)][std::size_t(l)];
        products.add(matrix.data(), int(matrix.size()) / n_max, n_max, s.sums.data(),
                     s.leg.data() + chain_.leg_at[std::size_t(l)] + (l == 0));
      }
    }
  }

  // Of a neighbour in s.near: x, y, z, r, 1/r; radial functions and their slopes; harmonics.
  long stride() const { return 5 + 2 * radial_.n_max + harmonics_.size(); }
  bool has_met(int element, int other) const {
    return pairs_[std::size_t(element * int(elements.size()) + other)].met;
  }
  const ChainKernel<T>& chain() const { return chain_; }
  const Radial<T>& radial() const { return radial_; }
  const Harmonics<T>& harmonics() const { return harmonics_; }

  // Atoms of one element, up to `width` of them; `visit(lane, add)` calls
  // add(element of the neighbour, dx, dy, dz, neighbour, slot) for each neighbour of a lane's atom,
  // `pull(lane, neighbour, slot, p, d)` is told dE/dd of each pair that is within r_max. The energy
  // of an atom is not finite where another coincides with it, or a vector is no number.
  template <class Visit, class Pull>
  void block(int element, int atoms, Scratch& s, const Visit& visit, const Pull& pull,
             double* energies) const {
    const int n_elements = int(elements.size()), n_max = radial_.n_max;
    features(element, atoms, s, visit);
    s.by_leg.assign(std::size_t(chain_.leg_size), V{});
    s.chain.resize(std::size_t(chain_.scratch_size));
    s.h.resize(std::size_t(harmonics_.size()));
    V energy = chain_.evaluate(element, s.leg.data(), s.by_leg.data(), s.chain.data()) -
               vacuum_[std::size_t(element)];
    V share = all<T>(1), by_crowding[max_elements] = {};
    if (has_floor_) {
      const T margin = T(margin_[std::size_t(element)]),
              begin = T(lowest_[std::size_t(element)]) - margin;
      const V u = (begin - energy) / margin;
      const auto settled = fall(u);
      energy += margin * (u - settled.settled);
      share *= settled.value;
    }
    const bool crowded =
        has_inner_ && wall(n_elements, atoms, s.crowding.data(), energy, share, by_crowding);
    for (V& g : s.by_leg) g *= share;
    for (int lane = 0; lane < atoms; ++lane)
      energies[lane] = double(energy[lane]) + e0_[std::size_t(element)];
    // Back to the neighbours.
    const V* near = s.near.data();
    long at = 0;
    for (int z = 0; z < n_elements; ++z) {
      const PairOfElements& pair = pairs_[std::size_t(element * n_elements + z)];
      const int count = s.count[std::size_t(z)];
      if (!count) continue;
      std::fill(s.sums.begin(), s.sums.end(), V{});
      if (pair.met)
        for (int l = 0; l <= harmonics_.l_max; ++l) {
          const auto& matrix = radial_.folded[std::size_t(z)][std::size_t(l)];
          RowProducts<T>::of(l).transposed(
              matrix.data(), int(matrix.size()) / n_max, n_max,
              s.by_leg.data() + chain_.leg_at[std::size_t(l)] + (l == 0),
              s.sums.data() + n_max * l * l);
        }
      for (int k = 0; k < count; ++k, near += stride()) {
        V p[3];
        turn_back(pair, near, s, crowded ? &by_crowding[z] : nullptr, p);
        repulsion(pair, near, p, energies, atoms);
        for (int lane = 0; lane < atoms; ++lane, ++at) {
          if (s.slot[std::size_t(at)] < 0) continue;
          const double r = double(near[3][lane]);
          const double pulled[3] = {double(p[0][lane]), double(p[1][lane]), double(p[2][lane])};
          const double d[3] = {r * double(near[0][lane]), r * double(near[1][lane]),
                               r * double(near[2][lane])};
          pull(lane, s.neighbor[std::size_t(at)], s.slot[std::size_t(at)], pulled, d);
        }
        at += width - atoms;
      }
    }
  }

  // Multiply-adds for an atom with so many neighbours.
  double operations(double neighbors) const {
    double count = chain_.operations(), sums = double(radial_.n_max) * harmonics_.size();
    for (const auto& matrix : radial_.folded[0]) count += 0.0 * double(matrix.size());
    for (int l = 0; l <= harmonics_.l_max; ++l)
      count += 2.0 * double(elements.size()) * double(radial_.folded[0][std::size_t(l)].size()) *
               (2 * l + 1);
    return count + 3 * sums * neighbors;
  }

 private:
  static constexpr int max_elements = 118;

  struct PairOfElements {
    int z1 = 0, z2 = 0;
    bool met = true;
    double onset = 0, rest = 1, unit = 1, fullest = 1, zbl_end = 0, zbl_full = 0;
  };

  template <class Visit>
  void gather(int element, int atoms, Scratch& s, const Visit& visit, long stride) const {
    (void)element;
    const std::size_t n = elements.size();
    // Found first, laid out afterwards: how many there are of each element is not known before.
    struct Found {
      double x, y, z;
      long neighbor, slot;
    };
    thread_local std::vector<std::vector<Found>> found;
    if (found.size() < n * std::size_t(width)) found.resize(n * std::size_t(width));
    s.count.assign(n, 0);
    const double limit = r_max * r_max;
    for (int lane = 0; lane < atoms; ++lane) {
      for (std::size_t z = 0; z < n; ++z) found[z * std::size_t(width) + std::size_t(lane)].clear();
      visit(lane, [&](int z, double x, double y, double zz, long neighbor, long slot) {
        // What is no finite number counts as near, and is heard in the energy.
        const double square = x * x + y * y + zz * zz;
        if (z >= 0 && !(square >= limit && square <= std::numeric_limits<double>::max()))
          found[std::size_t(z) * std::size_t(width) + std::size_t(lane)].push_back(
              {x, y, zz, neighbor, slot});
      });
      for (std::size_t z = 0; z < n; ++z)
        s.count[z] =
            std::max(s.count[z], int(found[z * std::size_t(width) + std::size_t(lane)].size()));
    }
    long total = 0;
    for (const int count : s.count) total += count;
    s.near.resize(std::size_t(total * stride));
    s.neighbor.resize(std::size_t(total * width)), s.slot.resize(std::size_t(total * width));
    long row = 0;
    for (std::size_t z = 0; z < n; ++z)
      for (int k = 0; k < s.count[z]; ++k, ++row) {
        V* const near = s.near.data() + row * stride;
        for (int lane = 0; lane < width; ++lane) {
          const auto* all_of =
              lane < atoms ? &found[z * std::size_t(width) + std::size_t(lane)] : nullptr;
          const bool is = all_of && k < int(all_of->size());
          const Found one = is ? (*all_of)[std::size_t(k)] : Found{2 * r_max, 0, 0, -1, -1};
          near[0][lane] = T(one.x), near[1][lane] = T(one.y), near[2][lane] = T(one.z);
          s.neighbor[std::size_t(row * width + lane)] = one.neighbor;
          s.slot[std::size_t(row * width + lane)] = one.slot;
        }
      }
  }

  // Of neighbours in a row: unit vector, distance, radial functions and harmonics.
  void prepare(const PairOfElements& pair, V* near, V& crowding) const {
    const V r = square_root<T>(near[0] * near[0] + near[1] * near[1] + near[2] * near[2]);
    const V inverse = 1 / r;
    near[0] *= inverse, near[1] *= inverse, near[2] *= inverse;
    near[3] = r, near[4] = inverse;
    const int n_max = radial_.n_max;
    V *const f = near + 5, *const slope = f + n_max;
    if (pair.met) {
      const auto inner = continued(pair, r);
      radial_.values(inner.distance, f, slope);
      if (inner.any)
        for (int p = 0; p < n_max; ++p) slope[p] *= inner.slope;
      harmonics_.values(near[0], near[1], near[2], slope + n_max);
    }
    if (has_inner_) {
      const V edge = larger(1 - r / T(r_max), V{}), ratio = T(pair.unit) * inverse,
              square = ratio * ratio;
      crowding += square * square * edge * edge * edge * T(1 / pair.fullest);
    }
  }

  struct Continued {
    V distance, slope;
    bool any;
  };

  // Below the onset the distance comes to rest.
  static Continued continued(const PairOfElements& pair, V r) {
    const V zero{}, u = larger(T(pair.onset) - r, zero) / T(pair.rest);
    for (int lane = 0; lane < width; ++lane)
      if (u[lane] > 0) {
        const auto rests = fall(u);
        return {r + T(pair.rest) * (u - rests.settled), rests.value, true};
      }
    return {r, zero + 1, false};
  }

  // The wall around crowded atoms; false if none is.
  bool wall(int n_elements, int atoms, const V* crowding, V& energy, V& share,
            V* by_crowding) const {
    const double begin = 1.5, end = 2.5, height = 50.0;
    V sum{};
    for (int z = 0; z < n_elements; ++z) {
      const V square = crowding[z] * crowding[z], fourth = square * square;
      sum += fourth * fourth;
    }
    bool any = false;
    for (int lane = 0; lane < atoms; ++lane) {
      const double x = std::pow(double(sum[lane]), 0.125);
      if (x <= begin) continue;
      any = true;
      const double t = std::min((x - begin) / (end - begin), 1.0);
      const double left = 1 - t * t * t * (10 - 15 * t + 6 * t * t),
                   slope = -30 * t * t * (1 - t) * (1 - t) / (end - begin);
      const double top = height * std::sqrt(x / end), own = double(energy[lane]);
      const double by_x = slope * (own - top) + (1 - left) * top / (2 * x);
      energy[lane] = T(left * own + (1 - left) * top);
      share[lane] *= T(left);
      for (int z = 0; z < n_elements; ++z)
        by_crowding[z][lane] = T(by_x * std::pow(double(crowding[z][lane]) / x, 7));
    }
    return any;
  }

  // dE/dd of the neighbours in a row from the gradient by their sums.
  void turn_back(const PairOfElements& pair, const V* near, Scratch& s, const V* by_crowding,
                 V* p) const {
    const int n_max = radial_.n_max;
    V radial{}, tx{}, ty{}, tz{};
    if (pair.met) {
      const V *f = near + 5, *slope = f + n_max, *y = slope + n_max;
      for (int l = 0; l <= harmonics_.l_max; ++l)
        contract_by_degree(l, f, slope, y + l * l, s.sums.data() + n_max * l * l,
                           s.h.data() + l * l, radial);
      harmonics_.gradient(near[0], near[1], near[2], s.h.data(), tx, ty, tz);
      const V along = tx * near[0] + ty * near[1] + tz * near[2];
      tx = (tx - along * near[0]) * near[4];
      ty = (ty - along * near[1]) * near[4];
      tz = (tz - along * near[2]) * near[4];
    }
    if (by_crowding) {
      const V edge = larger(1 - near[3] / T(r_max), V{}), ratio = T(pair.unit) * near[4],
              square = ratio * ratio;
      radial -= *by_crowding * square * square * edge * edge * T(1 / pair.fullest) *
                (4 * edge * near[4] + T(3 / r_max));
    }
    p[0] = tx + radial * near[0], p[1] = ty + radial * near[1], p[2] = tz + radial * near[2];
  }

  template <int D>
  void contract(const V* f, const V* slope, const V* y, const V* g, V* h, V& radial) const {
    V sum[D] = {}, with_slope[D] = {};
    for (int p = 0; p < radial_.n_max; ++p)
#pragma GCC unroll 16
      for (int m = 0; m < D; ++m) {
        const V value = g[p * D + m];
        sum[m] += f[p] * value;
        with_slope[m] += slope[p] * value;
      }
#pragma GCC unroll 16
    for (int m = 0; m < D; ++m) h[m] = sum[m], radial += with_slope[m] * y[m];
  }

  void contract_by_degree(int l, const V* f, const V* slope, const V* y, const V* g, V* h,
                          V& radial) const {
    switch (l) {
      case 0:
        return contract<1>(f, slope, y, g, h, radial);
      case 1:
        return contract<3>(f, slope, y, g, h, radial);
      case 2:
        return contract<5>(f, slope, y, g, h, radial);
      case 3:
        return contract<7>(f, slope, y, g, h, radial);
      case 4:
        return contract<9>(f, slope, y, g, h, radial);
      case 5:
        return contract<11>(f, slope, y, g, h, radial);
      default:
        return contract<13>(f, slope, y, g, h, radial);
    }
  }

  // The repulsion of the nuclei, of which each atom of a pair has half.
  void repulsion(const PairOfElements& pair, const V* near, V* p, double* energies,
                 int atoms) const {
    if (!zbl_) return;
    for (int lane = 0; lane < atoms; ++lane) {
      const double r = double(near[3][lane]);
      if (!(r < pair.zbl_end)) continue;
      static const double amplitudes[] = {0.18175, 0.50986, 0.28022, 0.02817};
      static const double decays[] = {3.19980, 0.94229, 0.40290, 0.20162};
      const double length = 0.46850 / (std::pow(pair.z1, 0.23) + std::pow(pair.z2, 0.23));
      double phi = 0, dphi = 0;
      for (int k = 0; k < 4; ++k) {
        const double part = amplitudes[k] * std::exp(-decays[k] * r / length);
        phi += part, dphi -= part * decays[k] / length;
      }
      const double span = pair.zbl_end - pair.zbl_full,
                   t = std::min(std::max((r - pair.zbl_full) / span, 0.0), 1.0);
      const double on = 1 - t * t * t * (10 - 15 * t + 6 * t * t),
                   slope = -30 * t * t * (1 - t) * (1 - t) / span;
      const double bare = 14.3996454784 * pair.z1 * pair.z2 / r;
      energies[lane] += 0.5 * bare * phi * on;
      const double pulled = 0.5 * bare * (dphi * on + phi * slope - phi * on / r);
      for (int a = 0; a < 3; ++a) p[a][lane] += T(pulled * double(near[a][lane]));
    }
  }

  ChainKernel<T> chain_;
  Radial<T> radial_;
  Harmonics<T> harmonics_;
  std::vector<double> e0_, lowest_, margin_;
  std::vector<T> vacuum_;
  std::vector<PairOfElements> pairs_;
  bool zbl_, has_inner_, has_floor_;
};

}  // namespace ETN_TARGET
}  // namespace etn
