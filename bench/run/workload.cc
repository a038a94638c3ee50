#include "bench/run/workload.h"

#include "absl/strings/str_cat.h"

namespace ringfence::bench {
namespace {

Workload Micro(const char* name, const char* unit, int milliseconds = 80) {
  Workload workload;
  workload.suite = "micro";
  workload.name = name;
  workload.unit = unit;
  workload.milliseconds = milliseconds;
  return workload;
}

Workload Whole(const char* suite, const char* name, const char* unit,
               std::vector<std::string> command) {
  Workload workload;
  workload.suite = suite;
  workload.name = name;
  workload.unit = unit;
  workload.timing = Timing::kWhole;
  workload.words = std::move(command);
  workload.host_root = true;
  return workload;
}

Workload Slow(Workload workload) {
  workload.slow = true;
  return workload;
}

Workload Guest(Workload workload, std::vector<std::string> words) {
  workload.suite = "macro";
  workload.words = std::move(words);
  workload.host_root = true;
  return Slow(std::move(workload));
}

std::vector<std::string> Shell(const std::string& script) { return {"/bin/sh", "-ec", script}; }

// What is done where the tree lies leaves it as it was.
std::string In(const std::string& directory, const std::string& script) {
  return absl::StrCat("cd ", directory, "; ", script);
}

constexpr char kGit[] =
    "rm -rf .git; export HOME=$PWD; git init -q .; git config user.name b; git config user.email "
    "b@b; "
    "git add .; git commit -q -m one; echo >> Makefile; git commit -q -a -m two; git log --stat "
    "> /dev/null; git status --short > /dev/null; rm -rf .git";

constexpr char kSqlite[] =
    "import os, sqlite3\n"
    "if os.path.exists('bench.db'): os.unlink('bench.db')\n"
    "db = sqlite3.connect('bench.db')\n"
    "db.execute('create table t (id integer primary key, name text, n integer)')\n"
    "for batch in range(20):\n"
    "    with db:\n"
    "        db.executemany('insert into t (name, n) values (?, ?)',\n"
    "                       [('name%d' % i, i * 7919 % 1000) for i in range(500)])\n"
    "with db: db.execute('create index i on t (n)')\n"
    "for n in range(1000): db.execute('select count(*) from t where n = ?', (n,)).fetchone()\n"
    "with db: db.execute('delete from t where n % 3 = 0')\n"
    "db.close()\n"
    "os.unlink('bench.db')\n";

}  // namespace

std::vector<Workload> MicroWorkloads() {
  std::vector<Workload> workloads = {
      Micro("getpgid", "call"),
      Micro("getpid", "call"),
      Micro("getppid", "call"),
      Micro("cpu", "step"),
      Micro("clock_gettime", "call"),
      Micro("gettimeofday", "call"),
      Micro("time", "call"),
      Micro("getcpu", "call"),
      Micro("sched_yield", "call"),
      Micro("pipe", "byte there and back"),
      Micro("eventfd", "write and read"),
      Micro("epoll", "event, wait, read"),
      Micro("unix_pair", "byte there and back"),
      Micro("pipe_threads", "byte to a thread and back", 120),
      Micro("unix_loopback", "byte to a thread and back", 120),
      Micro("tcp_loopback", "byte to a thread and back", 120),
      Micro("futex_two_cpus", "wake and be woken", 120),
      Micro("futex_one_cpu", "wake and be woken", 120),
      Micro("open_read_close", "open, read 64 bytes, close"),
      Micro("stat", "call"),
      Micro("getdents", "directory of 100 entries"),
      Micro("pread", "4 KiB"),
      Micro("pwrite", "4 KiB"),
      Micro("mmap", "map, touch, unmap 64 KiB"),
      Micro("touch", "4 KiB page of 64 MiB"),
      Micro("touch_sparse", "byte per 2 MiB of 4 GiB"),
      Micro("mprotect_64m", "mprotect and munmap 64 MiB"),
      Micro("mprotect_sibling", "mprotect of a page"),
      Micro("signal", "signal to itself"),
      Micro("thread", "create and join"),
      Micro("fork", "fork, exit, wait", 120),
      Micro("fork_1m", "fork, exit, wait, rewrite 10%", 120),
      Micro("fork_256m_huge", "fork, exit, wait, rewrite 10%", 200),
      Micro("fork_256m_small", "fork, exit, wait, rewrite 10%", 200),
      Micro("vfork_exec", "vfork, exec, wait", 120),
  };
  for (Workload& w : workloads) {
    if (w.name == "getpgid") w.bare = {"bare:exit", "bare:exitless"};
    if (w.name == "getpid") w.bare = {"bare:trap"};
    if (w.name == "touch_sparse") w.ringfence_flags = {"--memory=128m"};
  }
  return workloads;
}

std::vector<Workload> MacroWorkloads(const Inputs& inputs) {
  const std::vector<std::string> python = {"/usr/bin/python3", "-c", "pass"};
  std::vector<std::string> start_python = python;
  const std::string make = "make -s clean; make -s -j";
  std::vector<Workload> workloads = {
      Whole("macro", "true", "do /bin/true", {"/bin/true"}),
      Whole("macro", "gcc", "gcc -O2 -c, 2,000 lines",
            {"gcc", "-O2", "-c", "-o", inputs.object, inputs.source}),
      Slow(Whole("macro", "make_j1", "make -j1 of a tree of C",
                 Shell(In(inputs.tree, absl::StrCat(make, "1"))))),
      Slow(Whole("macro", "make_j2", "make -j2 of a tree of C",
                 Shell(In(inputs.tree, absl::StrCat(make, "2"))))),
      Whole("macro", "python", "python3 -c pass", python),
      Whole("macro", "git", "init, add, commit, log, status", Shell(In(inputs.tree, kGit))),
      Whole("macro", "sqlite", "10,000 rows in, 1,000 queries, out",
            {"/bin/sh", "-ec", In(inputs.directory, "exec /usr/bin/python3 -c \"$0\""), kSqlite}),
      Whole("macro", "find", "find /usr/include -newer",
            {"find", "/usr/include", "-newer", inputs.source}),
      Whole("macro", "tar", "tar of /usr/include/linux",
            Shell(In(inputs.directory, "tar -cf out.tar -C /usr/include linux; rm out.tar"))),
      Guest(Micro("start_python", "vfork, exec, wait", 500), start_python),
      Guest(Micro("read_128k", "file of 256 MiB", 300), {inputs.data, "131072"}),
      Guest(Micro("read_1m", "file of 256 MiB", 300), {inputs.data, "1048576"}),
  };
  return workloads;
}

std::vector<Workload> StartupWorkloads(const Inputs& inputs) {
  constexpr int kMany = 50;
  const auto named = [&](const char* name, const char* unit, Timing timing, int copies) {
    Workload w = Whole("startup", name, unit, {inputs.first});
    w.timing = timing;
    w.copies = copies;
    w.slow = copies > 1;
    return w;
  };
  std::vector<Workload> workloads = {
      named("start_first", "to the program's first byte", Timing::kFirstByte, 1),
      named("start_exit", "to the end of a program that does nothing", Timing::kWhole, 1),
      named("start_cold", "the same, nothing in the page cache", Timing::kWhole, 1),
      named("start_first_50", "50 at once, to the last one's first byte", Timing::kFirstByte,
            kMany),
      named("start_exit_50", "50 at once, to the end of the last", Timing::kWhole, kMany),
  };
  for (Workload& w : workloads) w.evict = w.name == "start_cold";
  return workloads;
}

std::vector<std::string> DefaultRuntimes(const std::string& suite) {
  const std::vector<std::string> peers = {"runsc", "runc", "crun", "kata"};
  std::vector<std::string> names = {"native", "ringfence", "ringfence:exit"};
  if (suite == "macro") names = {"native", "ringfence:auto", "ringfence:exit"};
  if (suite == "startup" || suite == "density") names = {"native", "ringfence:auto"};
  names.insert(names.end(), peers.begin(), peers.end());
  return names;
}

const std::vector<std::string>& Suites() {
  static const std::vector<std::string> suites = {"micro", "macro", "startup", "density",
                                                  "inprocess"};
  return suites;
}

}  // namespace ringfence::bench
