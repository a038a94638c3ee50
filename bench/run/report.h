// What people see: a table on the terminal, JSON for programs, one self-contained HTML page.
#ifndef RINGFENCE_BENCH_RUN_REPORT_H_
#define RINGFENCE_BENCH_RUN_REPORT_H_

#include <string>
#include <vector>

#include "bench/run/measure.h"
#include "bench/run/targets.h"

namespace ringfence::bench {

std::string TextReport(const Results& results);
// The outcomes as a table, one line each, and how many there are of each verdict.
std::string TargetReport(const std::vector<Outcome>& outcomes);

// bench/README.md describes the fields.
std::string JsonReport(const Results& results, const std::vector<Outcome>& outcomes);
std::string HtmlReport(const Results& results, const std::vector<Outcome>& outcomes);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_REPORT_H_
