// A reader of JSON text: what the headers of model files are written in.
#pragma once

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace etn {

// What is wrong with a file or an argument, in words for the person who gave it.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Json {
 public:
  enum Kind { null, boolean, number, string, array, object };

  static Json parse(const std::string& text) {
    Parser parser{text.data(), text.data() + text.size()};
    Json value = parser.value(0);
    parser.blanks();
    if (parser.at != parser.end) throw Error("JSON: something follows the value");
    return value;
  }

  bool is(Kind kind) const { return kind_ == kind; }
  bool has(const std::string& key) const { return is(object) && members_.count(key); }

  const Json& operator[](const std::string& key) const {
    const auto found = members_.find(key);
    if (kind_ != object || found == members_.end()) throw Error("JSON: no \"" + key + "\"");
    return found->second;
  }
  const std::map<std::string, Json>& members() const { return need(object), members_; }
  const std::vector<Json>& items() const { return need(array), items_; }
  const std::string& text() const { return need(string), text_; }
  double real() const { return need(number), number_; }
  bool flag() const { return need(boolean), number_ != 0; }

  // A whole number from 0 to `most`.
  long whole(long most = 1L << 40) const {
    const double value = real();
    if (!(value >= 0 && value <= double(most)) || value != double(long(value)))
      throw Error("JSON: expected a whole number up to " + std::to_string(most));
    return long(value);
  }

 private:
  static constexpr int max_depth = 64;

  struct Parser {
    const char *at, *end;

    [[noreturn]] void fail() const { throw Error("JSON: expected a value, got something else"); }
    void blanks() {
      while (at != end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) ++at;
    }
    bool take(char c) {
      blanks();
      if (at == end || *at != c) return false;
      return ++at, true;
    }
    bool word(const char* letters) {
      const char* from = at;
      for (; *letters; ++letters, ++from)
        if (from == end || *from != *letters) return false;
      return at = from, true;
    }

    Json value(int depth) {
      blanks();
      if (at == end || depth > max_depth) fail();
      Json out;
      if (*at == '"') {
        out.kind_ = string;
        out.text_ = quoted();
      } else if (take('{')) {
        out.kind_ = object;
        if (take('}')) return out;
        do {
          blanks();
          std::string key = quoted();
          if (!take(':')) fail();
          out.members_[std::move(key)] = value(depth + 1);
        } while (take(','));
        if (!take('}')) fail();
      } else if (take('[')) {
        out.kind_ = array;
        if (take(']')) return out;
        do out.items_.push_back(value(depth + 1));
        while (take(','));
        if (!take(']')) fail();
      } else if (word("true")) {
        out.kind_ = boolean, out.number_ = 1;
      } else if (word("false")) {
        out.kind_ = boolean;
      } else if (!word("null")) {
        out.kind_ = number;
        out.number_ = digits();
      }
      return out;
    }

    double digits() {
      std::string part;
      while (at != end && part.size() < 64 &&
             std::string("+-.eE0123456789").find(*at) != std::string::npos)
        part += *at++;
      char* stop = nullptr;
      const double found = std::strtod(part.c_str(), &stop);
      if (part.empty() || *stop) fail();
      return found;
    }

    std::string quoted() {
      if (at == end || *at != '"') fail();
      std::string out;
      for (++at; at != end && *at != '"'; ++at) {
        if (*at != '\\') {
          out += *at;
          continue;
        }
        if (++at == end) fail();
        switch (*at) {
          case 'n':
            out += '\n';
            break;
          case 't':
            out += '\t';
            break;
          case 'r':
            out += '\r';
            break;
          case 'b':
            out += '\b';
            break;
          case 'f':
            out += '\f';
            break;
          case 'u':
            code(out);
            break;
          default:
            out += *at;
        }
      }
      if (at == end) fail();
      return ++at, out;
    }

    // \uXXXX as UTF-8; halves of a pair stand for themselves, as no name that is read has any.
    void code(std::string& out) {
      unsigned long c = 0;
      for (int i = 0; i < 4; ++i) {
        if (++at == end) fail();
        const char* hex = "0123456789abcdef";
        const char low = *at >= 'A' && *at <= 'F' ? char(*at + 32) : *at;
        int digit = 0;
        while (hex[digit] && hex[digit] != low) ++digit;
        if (!hex[digit]) fail();
        c = 16 * c + unsigned(digit);
      }
      if (c < 0x80) {
        out += char(c);
      } else if (c < 0x800) {
        out += char(0xC0 | (c >> 6)), out += char(0x80 | (c & 63));
      } else {
        out += char(0xE0 | (c >> 12)), out += char(0x80 | ((c >> 6) & 63));
        out += char(0x80 | (c & 63));
      }
    }
  };

  void need(Kind kind) const {
    if (kind_ != kind) throw Error("JSON: a value is of another kind than expected");
  }

  Kind kind_ = null;
  double number_ = 0;
  std::string text_;
  std::vector<Json> items_;
  std::map<std::string, Json> members_;
};

}  // namespace etn
