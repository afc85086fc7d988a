// What a target offers to the interface: an evaluator for lists of neighbours in arrays.
#pragma once

#include <memory>

#include "etn/etn.h"
#include "etn/model_file.hpp"

struct Driver {
  virtual ~Driver() = default;
  virtual void evaluate(const etn_neighbors& lists, int threads, double* energies, double* forces,
                        double* strain) const = 0;
  virtual void grades(const etn_neighbors& lists, int threads, double* grades) const = 0;
  virtual double operations(double neighbors) const = 0;
  virtual long columns(const etn::ModelFile& file, int site) const = 0;
  virtual void rows(const etn::ModelFile& file, const etn_neighbors& lists, int site,
                    const etn_rows_wanted& wanted, const double* weights, double* out) const = 0;
  virtual void pull(const etn::ModelFile& file, const etn_neighbors& lists, int site,
                    const etn_rows_wanted& wanted, const double* weights, double* out) const = 0;
};

using MakeDriver = std::unique_ptr<Driver> (*)(const etn::ModelFile& file, int precision);
std::unique_ptr<Driver> make_generic(const etn::ModelFile& file, int precision);
std::unique_ptr<Driver> make_v3(const etn::ModelFile& file, int precision);
std::unique_ptr<Driver> make_v4(const etn::ModelFile& file, int precision);
