#include "runtime/cli/command_line.h"

#include <sched.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace ringfence::runtime {
namespace {

constexpr char kVersion[] = "ringfence 0.1";
constexpr char kUsage[] = "usage: ringfence COMMAND ...; ringfence --help lists the commands";
constexpr char kDoUsage[] =
    "usage: ringfence do [-t] [--exitless=auto|on|off] [--network=none] [--strace] [--cwd DIR] "
    "[--env "
    "NAME=VALUE]... "
    "[--rw PATH]... [--volume SRC:DST[:ro]]... [--overlay=memory|none|dir=DIR] "
    "[--memory SIZE] [--cpus NUMBER] [--debug-log FILE] [--stats FILE] [--debug-unconfined] [--] "
    "COMMAND [ARGUMENT]...";
constexpr char kMainHelp[] =
    "usage: ringfence COMMAND ...\n"
    "\n"
    "Runs Linux programs on a kernel of their own, in ring 3 of a KVM guest.\n"
    "\n"
    "  do     run a program in a new sandbox over the host's files\n"
    "  debug  show the running sandboxes, or what the tasks of one do\n"
    "\n"
    "ringfence COMMAND --help tells more; ringfence --version.\n";

using platform::ExitlessMode;

std::string CheckEnvironment(const std::string& setting) {
  const size_t equals = setting.find('=');
  return equals == setting.npos || equals == 0 ? "wants NAME=VALUE, not " + setting : "";
}

std::string CheckExitless(const std::string& mode) {
  const bool known = mode == "auto" || mode == "on" || mode == "off";
  return known ? "" : "is auto, on or off, not " + mode;
}

// Only the mode without a network is there.
std::string CheckNetwork(const std::string& mode) {
  return mode == "none" ? "" : "is none (the only network mode so far), not " + mode;
}

ExitlessMode ToExitlessMode(const std::string& mode) {
  if (mode == "on") return ExitlessMode::kOn;
  return mode == "off" ? ExitlessMode::kOff : ExitlessMode::kAuto;
}

// "512m", "2G", "1073741824": bytes, as podman and docker take them. 0: it is none.
uint64_t ToBytes(const std::string& text) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  std::string unit(rest, end);
  if (unit.size() == 2 && (unit[1] == 'b' || unit[1] == 'B')) unit.pop_back();
  if (error != std::errc() || unit.size() > 1) return 0;
  const size_t power = unit.empty() ? 0 : std::string("bkmgt").find(absl::ascii_tolower(unit[0]));
  if (power == std::string::npos || value > (~uint64_t{0} >> 10 * power)) return 0;
  return value << 10 * power;
}

std::string CheckMemory(const std::string& size) {
  constexpr uint64_t kLeast = uint64_t{32} << 20, kMost = uint64_t{1} << 40;
  const uint64_t bytes = ToBytes(size);
  const bool fits = bytes >= kLeast && bytes <= kMost;
  return fits ? "" : "wants 32m to 1t, a number with k, m, g or t, not " + size;
}

// Like podman's, a decimal number; the sandbox gets as many whole CPUs as it needs for that.
double ToCpus(const std::string& text) {
  double cpus = 0;
  return absl::SimpleAtod(text, &cpus) && cpus > 0 && cpus <= CPU_SETSIZE ? cpus : 0;
}

std::string CheckCpus(const std::string& cpus) {
  return ToCpus(cpus) > 0 ? "" : "wants a number of CPUs above 0, not " + cpus;
}

std::string CheckVolume(const std::string& text) {
  Volume ignored;
  return ParseVolume(text, &ignored);
}

std::string CheckOverlay(const std::string& text) {
  OverlayFlag ignored;
  return ParseOverlay(text, &ignored);
}

std::string CheckPath(const std::string& path) { return path.empty() ? "wants a path" : ""; }

struct DoFlags {
  std::string memory;
  std::string cpus;
  std::string exitless = "auto";
  std::string network = "none";
  bool strace = false;
  std::string cwd;
  std::vector<std::string> env;
  std::vector<std::string> rw;
  std::vector<std::string> volumes;
  std::string overlay = "memory";
  std::string debug_log;
  std::string stats;
  bool terminal = false;
  bool debug_unconfined = false;
};

// A flag that may be given more than once, with one value each time.
void AddRepeated(CLI::App* app, const char* name, std::vector<std::string>* out,
                 std::string (*check)(const std::string&), const char* value, const char* help) {
  app->add_option(name, *out, help)
      ->check(CLI::Validator(check, value))
      ->expected(1)
      ->allow_extra_args(false)  // or it would take the command, too
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void AddDoFlags(CLI::App* app, DoFlags* flags) {
  app->prefix_command();
  app->add_flag("-t,--terminal", flags->terminal,
                "give the program a terminal of its own, which this one (or a pipe) works");
  app->add_option("--exitless", flags->exitless,
                  "answer system calls on a spare core without leaving the guest: auto, on, off")
      ->check(CLI::Validator(CheckExitless, "MODE"))
      ->take_last();
  app->add_option("--network", flags->network,
                  "which network the program sees: none (unix sockets only)")
      ->check(CLI::Validator(CheckNetwork, "MODE"))
      ->take_last();
  app->add_flag("--strace", flags->strace, "log every system call of the program");
  app->add_option("--cwd", flags->cwd, "directory to start in; default: this one, or /")
      ->take_last();
  AddRepeated(app, "--env", &flags->env, CheckEnvironment, "NAME=VALUE",
              "set a variable of the program's environment");
  AddRepeated(app, "--rw", &flags->rw, CheckPath, "PATH",
              "let the program change this directory or file of the host");
  AddRepeated(app, "--volume", &flags->volumes, CheckVolume, "SRC:DST[:ro]",
              "show SRC of the host at DST, writable unless :ro is given");
  app->add_option("--overlay", flags->overlay,
                  "where the root's changes go: memory, none (the host's files), dir=DIR")
      ->check(CLI::Validator(CheckOverlay, "WHERE"))
      ->take_last();
  app->add_option("--memory", flags->memory,
                  "RAM of the sandbox, such as 512m or 2g; default: 4g. Beyond it the largest "
                  "process is killed")
      ->check(CLI::Validator(CheckMemory, "SIZE"))
      ->take_last();
  app->add_option("--cpus", flags->cpus,
                  "CPUs of the sandbox, rounded up; default: all of the "
                  "caller's")
      ->check(CLI::Validator(CheckCpus, "NUMBER"))
      ->take_last();
  app->add_option("--debug-log", flags->debug_log,
                  "append logs to this file; default: --strace to stderr, warnings to "
                  "/var/log/ringfence/ringfence.log (root) or "
                  "~/.local/state/ringfence/ringfence.log")
      ->take_last();
  app->add_option("--stats", flags->stats,
                  "at the end, write what the sandbox counted to this file, as JSON")
      ->take_last();
  app->add_flag("--debug-unconfined", flags->debug_unconfined,
                "do without the namespaces, the empty root and the system call filters that "
                "protect the host from a broken sandbox");
}

std::vector<Volume> VolumesOf(const DoFlags& flags) {
  std::vector<Volume> volumes;
  for (const std::string& path : flags.rw) {
    volumes.push_back({.source = path, .destination = "", .read_only = false});
  }
  for (const std::string& text : flags.volumes) ParseVolume(text, &volumes.emplace_back());
  return volumes;
}

UsageError DoError(const std::string& what) {
  return {.message = "do: " + what.substr(0, what.find('\n')), .usage = kDoUsage};
}

CommandLine ParseDo(const std::vector<std::string>& args) {
  CLI::App app(
      "Runs COMMAND in a new sandbox that sees the host's files and changes its own view of them.",
      "ringfence do");
  DoFlags flags;
  AddDoFlags(&app, &flags);
  // What follows `--` is the command's, whatever it looks like.
  const auto separator = std::find(args.begin(), args.end(), "--");
  std::vector<std::string> reversed(args.begin(), separator);
  std::reverse(reversed.begin(), reversed.end());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return PrintText{std::string(kDoUsage) + "\n\n" + app.help()};
  } catch (const CLI::ParseError& error) {
    return DoError(error.what());
  }
  std::vector<std::string> command = app.remaining();
  if (!command.empty() && command[0].starts_with('-')) {
    return DoError("unknown flag " + command[0]);
  }
  const auto rest = command.empty() && separator != args.end() ? separator + 1 : separator;
  command.insert(command.end(), rest, args.end());
  if (command.empty()) return DoError("no command given");
  if (command[0].empty()) return DoError("the command is an empty string");
  DoCommand parsed = {.exitless = ToExitlessMode(flags.exitless),
                      .strace = flags.strace,
                      .cwd = {},
                      .env = std::move(flags.env),
                      .volumes = VolumesOf(flags),
                      .debug_log = {},
                      .stats = {},
                      .terminal = flags.terminal,
                      .debug_unconfined = flags.debug_unconfined,
                      .memory_bytes = ToBytes(flags.memory),
                      .cpus = static_cast<uint32_t>(std::ceil(ToCpus(flags.cpus))),
                      .command = std::move(command)};
  ParseOverlay(flags.overlay, &parsed.overlay);
  if (app.count("--cwd") > 0) parsed.cwd = std::move(flags.cwd);
  if (app.count("--debug-log") > 0) parsed.debug_log = std::move(flags.debug_log);
  if (app.count("--stats") > 0) parsed.stats = std::move(flags.stats);
  return parsed;
}

constexpr char kDebugUsage[] = "usage: ringfence debug [PID|ID]";
constexpr char kDebugHelp[] =
    "\n\n"
    "Without an argument lists the running sandboxes of this user: ID, pid of the CLI, command.\n"
    "With one of these shows its tasks: pid, tid, state, name, the system call each is in and "
    "what\n"
    "its descriptors are, and its last 8 calls with their results.\n";

CommandLine ParseDebug(const std::vector<std::string>& args) {
  const auto error = [](std::string message) {
    return UsageError{.message = "debug: " + message, .usage = kDebugUsage};
  };
  if (args.empty()) return DebugCommand{};
  const std::string& name = args[0];
  if (name == "--help" || name == "-h") return PrintText{std::string(kDebugUsage) + kDebugHelp};
  if (args.size() > 1) return error("too many arguments");
  if (name.starts_with('-')) return error("unknown flag " + name);
  if (name.empty() || name.find('/') != name.npos) return error("not a PID or an ID: " + name);
  return DebugCommand{.sandbox = name};
}

}  // namespace

CommandLine ParseCommandLine(const std::vector<std::string>& args) {
  if (args.empty()) return UsageError{.message = "no command given", .usage = kUsage};
  if (args[0] == "do") return ParseDo({args.begin() + 1, args.end()});
  if (args[0] == "debug") return ParseDebug({args.begin() + 1, args.end()});
  if (args[0] == "--help" || args[0] == "-h" || args[0] == "help") return PrintText{kMainHelp};
  if (args[0] == "--version") return PrintText{std::string(kVersion) + "\n"};
  const char* kind = args[0].starts_with('-') ? "unknown flag " : "unknown command ";
  return UsageError{.message = kind + args[0], .usage = kUsage};
}

}  // namespace ringfence::runtime
