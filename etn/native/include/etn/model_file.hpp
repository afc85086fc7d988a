// A model file of etn as C++ data: elements, baseline, basis, chain and the end of the data.
//
// The file is in the safetensors format: 8 bytes with the length of a JSON text, that text, which
// says where each array lies, and the arrays.  What etn writes beside them is JSON in the JSON.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "json.hpp"
#include "sha256.hpp"

namespace etn {

constexpr int format_version = 2;  // the newest that is read
constexpr int max_degree = 6;      // of bonds and legs, for which there are couplings
constexpr std::uint64_t longest_header = 16000000;

struct Array {
  std::vector<long> shape;
  std::vector<double> values;

  long size() const { return long(values.size()); }
};

struct Irrep {
  int l = 0, parity = 1;

  bool operator==(const Irrep& other) const { return l == other.l && parity == other.parity; }
  int dim() const { return 2 * l + 1; }
};

struct Term {
  Irrep irrep;
  int multiplicity = 0;

  bool operator==(const Term& other) const {
    return irrep == other.irrep && multiplicity == other.multiplicity;
  }
};

// Irreps as "9x0e+8x1o", each of them once.
inline std::vector<Term> parse_irreps(const std::string& text) {
  std::vector<Term> terms;
  std::size_t at = 0;
  const auto digits = [&](int most) {
    int value = 0;
    const std::size_t first = at;
    for (; at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])); ++at) {
      value = 10 * value + (text[at] - '0');
      if (value > most) throw Error("irreps: a number in \"" + text + "\" is too large");
    }
    if (at == first) throw Error("irreps: expected such as 4x0e+3x1o, got \"" + text + "\"");
    return value;
  };
  while (true) {
    Term term;
    const bool counted = text.find('x', at) < text.find('+', at);
    term.multiplicity = counted ? digits(100000) : 1;
    if (counted) ++at;
    term.irrep.l = digits(1000);
    const char parity = at < text.size() ? text[at++] : '?';
    if (parity != 'e' && parity != 'o') throw Error("irreps: no parity in \"" + text + "\"");
    term.irrep.parity = parity == 'e' ? 1 : -1;
    terms.push_back(term);
    if (at == text.size()) return terms;
    if (text[at++] != '+') throw Error("irreps: expected + in \"" + text + "\"");
  }
}

// The arrays of a safetensors file, and what etn says of them.
struct Stored {
  Json header;  // of the kind
  std::string kind;
  std::map<std::string, Array> arrays;

  const Array& array(const std::string& name, std::vector<long> shape) const {
    const auto found = arrays.find(name);
    if (found == arrays.end()) throw Error("array " + name + " is missing");
    if (found->second.shape != shape)
      throw Error("array " + name + ": expected " + text(shape) + " numbers, got " +
                  text(found->second.shape));
    return found->second;
  }

  // The same where there must be numbers from `least` on.
  const std::vector<double>& finite(const std::string& name, std::vector<long> shape,
                                    double least = -HUGE_VAL) const {
    const Array& found = array(name, std::move(shape));
    for (const double value : found.values)
      if (!(value >= least && std::isfinite(value)))
        throw Error("array " + name + ": a number is not finite, or out of range");
    return found.values;
  }

  // A file: what is in it must be what was written.
  static Stored read(const std::string& path) {
    std::string content;
    try {
      std::ifstream file(path, std::ios::binary);
      if (!file) throw Error("there is no such file, or it may not be read; check the path");
      content.assign(std::istreambuf_iterator<char>(file), {});
      if (file.bad()) throw Error("cannot be read");
    } catch (const std::ios_base::failure&) {  // a folder
      throw Error("expected a file, which this is not; check the path");
    }
    return of(content, true);
  }

  // The content of a file; whoever has it in memory has it whole.
  static Stored of(const std::string& content, bool check = false) {
    const Error foreign("expected a model file of etn, this is none; check the path");
    const Error damaged("the file is cut off or damaged; copy it again, or save the model anew");
    if (content.size() < 9) throw content.empty() ? damaged : foreign;
    std::uint64_t length = 0;
    for (int i = 7; i >= 0; --i)
      length = length << 8 | static_cast<unsigned char>(content[std::size_t(i)]);
    if (content[8] != '{' || length > longest_header) throw foreign;
    if (length > content.size() - 8) throw damaged;
    const auto parsed = [&](const std::string& text) {
      try {
        return Json::parse(text);
      } catch (const Error&) {
        throw damaged;
      }
    };
    const Json index = parsed(content.substr(8, length));
    const std::string data = content.substr(8 + length);
    Stored out;
    if (!index.has("__metadata__") || !index["__metadata__"].has("etn")) throw foreign;
    const std::string& text = index["__metadata__"]["etn"].text();
    const Json own = parsed(text);
    const long version = own["format_version"].whole();
    if (version > format_version)
      throw Error("a file of format " + std::to_string(version) + ", of which formats up to " +
                  std::to_string(format_version) +
                  " can be read: update etn (pip install --upgrade etn), or build this again");
    out.kind = own["kind"].text();
    out.header = own["header"];
    Sha256 sum;
    if (check) sum.add(without_checksum(text));
    for (const auto& [name, entry] : index.members()) {
      if (name == "__metadata__") continue;
      const std::string& dtype = entry["dtype"].text();
      if (check) add(sum, name, entry, data);
      if (dtype == "F64" || dtype == "BOOL") out.arrays[name] = one(entry, data, dtype == "BOOL");
    }
    if (check && sum.digest() != own["checksum"].text()) throw damaged;
    return out;
  }

 private:
  static std::string text(const std::vector<long>& shape) {
    std::string out;
    for (const long extent : shape) out += (out.empty() ? "" : " x ") + std::to_string(extent);
    return out.empty() ? "0-dimensional" : out;
  }

  // Where an array lies in the data.
  struct Range {
    std::uint64_t first, size;

    Range(const Json& entry, const std::string& data) {
      const auto& range = entry["data_offsets"].items();
      if (range.size() != 2) throw Error("an array has no place");
      const std::uint64_t last = std::uint64_t(range[1].whole());
      first = std::uint64_t(range[0].whole());
      if (last > data.size() || first > last)
        throw Error("an array lies beyond the file, which is cut off or damaged; copy it again");
      size = last - first;
    }
  };

  // Truth values are numbers as well: 0 and 1.
  static Array one(const Json& entry, const std::string& data, bool truth) {
    Array out;
    std::uint64_t count = 1;
    for (const Json& extent : entry["shape"].items()) {
      out.shape.push_back(extent.whole(1L << 31));
      count *= std::uint64_t(out.shape.back());
      if (count > data.size()) throw Error("an array is larger than the file");
    }
    const Range range(entry, data);
    const char* const from = data.data() + range.first;
    if (range.size != (truth ? 1 : 8) * count)
      throw Error("an array has another size than its shape");
    out.values.resize(count);
    if (truth)
      for (std::uint64_t k = 0; k < count; ++k) out.values[k] = from[k] != 0;
    else if (count)
      std::memcpy(out.values.data(), from, range.size);
    return out;
  }

  // What the checksum is taken of, see etn/io.py: the record without it, then of each array its
  // name, type and shape and its bytes.
  static std::string without_checksum(const std::string& record) {
    const std::string start = "{\"checksum\":\"";
    const std::size_t end = start.size() + 64 + 2;
    if (record.compare(0, start.size(), start) != 0 || record.size() < end) return "";
    return "{" + record.substr(end);
  }

  static void add(Sha256& sum, const std::string& name, const Json& entry,
                  const std::string& data) {
    const std::string& dtype = entry["dtype"].text();
    const std::string bits = dtype.substr(std::min(dtype.size(), std::size_t(1)));
    const std::string known = dtype == "BOOL"   ? "bool"
                              : dtype[0] == 'F' ? "float" + bits
                              : dtype[0] == 'I' ? "int" + bits
                                                : "uint" + bits;
    sum.add("[\"" + name + "\",\"" + known + "\",[");
    bool is_first = true;
    for (const Json& extent : entry["shape"].items()) {
      sum.add((is_first ? "" : ",") + std::to_string(extent.whole()));
      is_first = false;
    }
    sum.add("]]");
    const Range range(entry, data);
    sum.add(data.data() + range.first, range.size);
  }
};

// A block of a core: couples the degrees l1, l2 and l3 of its legs.
struct Block {
  Irrep irreps[3];
  std::array<int, 3> multiplicities;
  const double* values;  // in C order
};

// Cores side by side; the last leg of each is the first of the next.
struct StoredChain {
  std::vector<std::vector<Term>> bonds;  // on either side of every core
  std::vector<std::vector<Block>> cores;
};

struct ModelFile : StoredChain {
  std::vector<std::string> elements;
  double r_max, r_min;
  int n_max, l_max;
  std::vector<Array> channels;  // for each l: (elements, n_max, channels)
  std::vector<double> e0;
  bool zbl = false;
  bool has_inner = false, has_floor = false;
  std::vector<double> closest, onset, fullest;  // (elements, elements); zero where never met
  std::vector<double> lowest, margin;
  Stored stored;  // owns what the blocks point to

  explicit ModelFile(Stored from) : stored(std::move(from)) { take(); }
  ModelFile(const ModelFile&) = delete;

  // Whether it holds what extrapolation grades need.
  bool has_grades() const { return stored.header.has("uncertainty"); }

  // A chain over this basis, by the legs of its cores; its arrays are NAME.SITE.IRREPS.
  StoredChain chain_of(const Json& legs, const std::string& name) const {
    StoredChain chain;
    const std::size_t sites = legs.items().size();
    if (sites < 2) throw Error("expected a chain of two or more sites");
    for (std::size_t site = 0; site < sites; ++site) {
      const auto& own = legs.items()[site].items();
      if (own.size() != 3) throw Error("expected cores of three legs");
      std::vector<Term> terms[3];
      for (int leg = 0; leg < 3; ++leg) {
        terms[leg] = parse_irreps(own[std::size_t(leg)].text());
        for (const Term& term : terms[leg])
          if (term.irrep.l > max_degree) throw Error("a bond has a degree beyond 6");
      }
      const Term start{{0, 1}, int(elements.size())};
      if (terms[0] != (site == 0 ? std::vector<Term>{start} : chain.bonds.back()))
        throw Error("a core does not begin where the one before it ends");
      check_leg(terms[1]);
      if (site == 0) chain.bonds.push_back(terms[0]);
      chain.bonds.push_back(terms[2]);
      check_size(terms[2]);
      chain.cores.push_back(core_of(terms, name + "." + std::to_string(site)));
    }
    if (chain.bonds.back() != std::vector<Term>{{{0, 1}, 1}})
      throw Error("expected a chain that ends in one scalar");
    return chain;
  }

 private:
  static constexpr double max_bond = 1e6;  // components

  void check_leg(const std::vector<Term>& leg) const {
    for (const Term& term : leg) {
      const int l = term.irrep.l;
      if (l > l_max || term.irrep.parity != (l % 2 ? -1 : 1) ||
          term.multiplicity != channels[std::size_t(l)].shape[2] + (l == 0))
        throw Error("a core has a leg that the basis does not have");
    }
  }

  static void check_size(const std::vector<Term>& bond) {
    double size = 0;
    for (const Term& term : bond) size += double(term.multiplicity) * term.irrep.dim();
    if (size > max_bond) throw Error("a bond has more than a million components");
  }

  void take() {
    if (stored.kind != "polynomial potential")
      throw Error("a " + stored.kind +
                  ": expected a polynomial potential of one layer, such as etn fit writes; others "
                  "run in Python (ASE, or fix external of LAMMPS)");
    const Json& header = stored.header;
    if (!header.has("chain")) throw Error("the potential is not fitted; fit it with etn fit");
    const Json& basis = header["basis"];
    for (const Json& symbol : basis["elements"].items()) elements.push_back(symbol.text());
    const long n = long(elements.size());
    if (n < 1 || n > 118) throw Error("expected 1 to 118 elements");
    r_max = basis["r_max"].real(), r_min = basis["r_min"].real();
    if (!(0 <= r_min && r_min < r_max && r_max <= 100))
      throw Error("r_min and r_max are out of range");
    n_max = int(basis["n_max"].whole(200)), l_max = int(basis["l_max"].whole(12));
    if (n_max < 1) throw Error("n_max: expected at least 1");
    if (l_max > max_degree)
      throw Error("l_max " + std::to_string(l_max) + ": there are couplings up to " +
                  std::to_string(max_degree) + ", use the potential in Python");
    take_channels(basis, n);
    for (const std::string& symbol : elements)
      e0.push_back(header["baseline"]["e0"][symbol].real());
    zbl = header["baseline"]["zbl"].flag();
    if ((has_inner = stored.arrays.count("inner.closest") > 0)) {
      closest = stored.array("inner.closest", {n, n}).values;
      onset = stored.array("inner.onset", {n, n}).values;
      fullest = stored.array("inner.fullest", {n, n}).values;
    }
    if ((has_floor = stored.arrays.count("floor.lowest") > 0)) {
      lowest = stored.array("floor.lowest", {n}).values;
      margin = stored.array("floor.margin", {n}).values;
    }
    StoredChain::operator=(chain_of(header["chain"]["legs"], "core"));
  }

  void take_channels(const Json& basis, long n) {
    if (stored.arrays.count("channels.0")) {
      for (int l = 0; l <= l_max; ++l) {
        const std::string name = "channels." + std::to_string(l);
        const auto found = stored.arrays.find(name);
        if (found == stored.arrays.end() || found->second.shape.size() != 3)
          throw Error("array " + name + " is missing, or no table of three axes");
        channels.push_back(stored.array(name, {n, n_max, found->second.shape[2]}));
      }
      return;
    }
    // Each radial function of each element is a channel, times the weight of the prior.
    if (n * n_max > 2000) throw Error("n_max: expected at most 2000 over all elements");
    const double scale = basis["scale"].real(), smoothness = basis["smoothness"].real();
    for (int l = 0; l <= l_max; ++l) {
      const long width = n * n_max;
      Array all{{n, n_max, width}, std::vector<double>(std::size_t(width * width), 0.0)};
      for (long k = 0; k < width; ++k)
        all.values[std::size_t(k * width + k)] =
            scale * std::pow((1.0 + l) * (1.0 + double(k % n_max)), -smoothness);
      channels.push_back(std::move(all));
    }
  }

  std::vector<Block> core_of(const std::vector<Term> (&terms)[3], const std::string& core) const {
    std::vector<Block> blocks;
    const auto name = [](const Irrep& ir) {
      return "." + std::to_string(ir.l) + (ir.parity > 0 ? "e" : "o");
    };
    for (const Term& a : terms[0])
      for (const Term& b : terms[1])
        for (const Term& c : terms[2]) {
          const int low = std::abs(a.irrep.l - b.irrep.l), high = a.irrep.l + b.irrep.l;
          if (c.irrep.l < low || c.irrep.l > high) continue;
          if (a.irrep.parity * b.irrep.parity != c.irrep.parity) continue;
          const Array& block = stored.array(core + name(a.irrep) + name(b.irrep) + name(c.irrep),
                                            {a.multiplicity, b.multiplicity, c.multiplicity});
          blocks.push_back({{a.irrep, b.irrep, c.irrep},
                            {{a.multiplicity, b.multiplicity, c.multiplicity}},
                            block.values.data()});
        }
    return blocks;
  }
};

}  // namespace etn
