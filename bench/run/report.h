// What people see: a table on the terminal, JSON for programs, one self-contained HTML page.
#ifndef RINGFENCE_BENCH_RUN_REPORT_H_
#define RINGFENCE_BENCH_RUN_REPORT_H_

#include <string>

#include "bench/run/measure.h"

namespace ringfence::bench {

std::string TextReport(const Results& results);
std::string JsonReport(const Results& results);
std::string HtmlReport(const Results& results);

// The targets met and missed, one line each; *all_met is false when one was missed.
std::string TargetReport(const Results& results, bool* all_met);

}  // namespace ringfence::bench

#endif  // RINGFENCE_BENCH_RUN_REPORT_H_
