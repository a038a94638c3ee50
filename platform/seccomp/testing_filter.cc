#include "platform/seccomp/testing_filter.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "platform/seccomp/arch/audit_arch.h"
#include "platform/seccomp/filter.h"

namespace ringfence::seccomp {
namespace {

constexpr int kMostCalls = 1024;  // more than Linux has

bool Holds(const Condition& condition, const seccomp_data& call) {
  return condition.mask == 0 || (call.args[condition.argument] & condition.mask) == condition.value;
}

bool Holds(const Rule& rule, const seccomp_data& call) {
  return rule.call == call.nr && std::all_of(rule.conditions.begin(), rule.conditions.end(),
                                             [&](const Condition& c) { return Holds(c, call); });
}

seccomp_data Call(int number, uint32_t arch = kArch) {
  seccomp_data call = {};
  call.nr = number;
  call.arch = arch;
  return call;
}

// `call` with arguments that fulfil `rule`, and then with each argument that matters off by a bit.
std::vector<seccomp_data> Neighbours(seccomp_data call, const Rule& rule) {
  for (const Condition& c : rule.conditions) {
    if (c.mask != 0) call.args[c.argument] = (call.args[c.argument] & ~c.mask) | c.value;
  }
  std::vector<seccomp_data> calls = {call};
  for (const Condition& c : rule.conditions) {
    if (c.mask == 0) continue;
    for (int bit = 0; bit < 64; ++bit) {
      calls.push_back(call);
      calls.back().args[c.argument] ^= uint64_t{1} << bit;
    }
  }
  return calls;
}

std::vector<seccomp_data> CallsToTry(std::span<const Rule> rules) {
  std::vector<seccomp_data> calls;
  for (int number = 0; number < kMostCalls; ++number) {
    calls.push_back(Call(number));
    calls.push_back(Call(number));
    std::fill(std::begin(calls.back().args), std::end(calls.back().args), ~uint64_t{0});
    calls.push_back(Call(number, kOtherArch));
    calls.push_back(Call(number | kForeignCalls));
  }
  calls.push_back(Call(-1));
  for (const Rule& rule : rules) {
    for (const uint64_t fill : {uint64_t{0}, ~uint64_t{0}}) {
      seccomp_data call = Call(rule.call);
      std::fill(std::begin(call.args), std::end(call.args), fill);
      const std::vector<seccomp_data> more = Neighbours(call, rule);
      calls.insert(calls.end(), more.begin(), more.end());
    }
  }
  return calls;
}

}  // namespace

uint32_t MeaningOf(std::span<const Rule> rules, const seccomp_data& call, uint32_t violation) {
  if (call.arch != kArch) return SECCOMP_RET_KILL_PROCESS;
  if (call.nr >= kForeignCalls) return SECCOMP_RET_KILL_PROCESS;
  for (const Rule& rule : rules) {
    if (!Holds(rule, call)) continue;
    return rule.error == 0 ? SECCOMP_RET_ALLOW
                           : SECCOMP_RET_ERRNO | static_cast<uint32_t>(rule.error);
  }
  return violation;
}

uint32_t RunProgram(std::span<const sock_filter> program, const seccomp_data& call) {
  uint32_t a = 0;
  for (size_t pc = 0; pc < program.size(); ++pc) {
    const sock_filter& in = program[pc];
    bool taken;
    switch (in.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (in.k % 4 != 0 || in.k > sizeof(call) - 4) return SECCOMP_RET_KILL_THREAD;
        std::memcpy(&a, std::as_bytes(std::span(&call, 1)).data() + in.k, 4);
        continue;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= in.k;
        continue;
      case BPF_RET | BPF_K:
        return in.k;
      case BPF_JMP | BPF_JA:
        pc += in.k;
        continue;
      case BPF_JMP | BPF_JEQ | BPF_K:
        taken = a == in.k;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        taken = a > in.k;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        taken = a >= in.k;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        taken = (a & in.k) != 0;
        break;
      default:
        return SECCOMP_RET_KILL_THREAD;
    }
    pc += taken ? in.jt : in.jf;
  }
  return SECCOMP_RET_KILL_THREAD;
}

std::string Disagreement(std::span<const Rule> rules, std::span<const sock_filter> program,
                         uint32_t violation) {
  for (const seccomp_data& call : CallsToTry(rules)) {
    const uint32_t wanted = MeaningOf(rules, call, violation);
    const uint32_t got = RunProgram(program, call);
    if (wanted == got) continue;
    std::string text = absl::StrCat(CallName(call.nr), " (", call.nr, ", arch ", call.arch, ")");
    for (const uint64_t arg : call.args) absl::StrAppend(&text, " ", absl::Hex(arg));
    return absl::StrCat(text, ": the table says ", absl::Hex(wanted), ", the filter ",
                        absl::Hex(got));
  }
  return "";
}

}  // namespace ringfence::seccomp
