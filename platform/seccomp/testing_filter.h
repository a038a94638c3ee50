// For tests of filters: what a table means, and what the kernel would make of a compiled program.
// The two are written independently of each other and of libseccomp.
#ifndef RINGFENCE_PLATFORM_SECCOMP_TESTING_FILTER_H_
#define RINGFENCE_PLATFORM_SECCOMP_TESTING_FILTER_H_

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <span>
#include <string>

#include "platform/seccomp/rule.h"

namespace ringfence::seccomp {

// SECCOMP_RET_* that the table gives for a call.
uint32_t MeaningOf(std::span<const Rule> rules, const seccomp_data& call, uint32_t violation);

// Runs a classic BPF program as seccomp does. A program that the kernel would refuse is
// SECCOMP_RET_KILL_THREAD, which no filter of ours returns.
uint32_t RunProgram(std::span<const sock_filter> program, const seccomp_data& call);

// Compares both for every call number with arguments on both sides of each condition. Empty, or
// the first call about which they disagree.
std::string Disagreement(std::span<const Rule> rules, std::span<const sock_filter> program,
                         uint32_t violation);

}  // namespace ringfence::seccomp

#endif  // RINGFENCE_PLATFORM_SECCOMP_TESTING_FILTER_H_
