// Finding the first program: execvp(3), and what a shell says.
#include "sentry/boot/command.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "sentry/fs/testing/fixture.h"

namespace ringfence::sentry {
namespace {

using Env = std::vector<std::string>;

struct Programs : TreeFixture {
  Programs() {
    for (const char* path : {"/bin", "/usr", "/usr/bin", "/opt", "/work"}) {
      REQUIRE(Mkdir(path) == Errno{});
    }
    Program("/bin/sh");
    Program("/usr/bin/vi");
    Program("/opt/tool");
    Program("/work/here");
    Program("/opt/shared", 0644);  // not executable
    Program("/usr/bin/shared");
    Program("/opt/only", 0644);
  }
  void Program(std::string_view path, uint32_t mode = 0755) {
    REQUIRE(Create(path, "x") == Errno{});
    const DentryRef dentry = *Vfs::Resolve(ctx, base, path, {});
    SetAttrRequest change;
    change.mode = mode;
    REQUIRE(dentry->inode()->SetAttr(ctx, change).ok());
  }
  // The path of the program, or what is said instead.
  std::string Find(std::string_view name, const Env& env = {}) {
    absl::StatusOr<Command> command = FindCommand(ctx, *context, name, env);
    if (command.ok()) {
      CHECK(command->file != nullptr);
      return command->path;
    }
    code = command.status().code();
    return std::string(command.status().message());
  }
  absl::StatusCode code = absl::StatusCode::kOk;
};

TEST_CASE("a name without a slash is looked for in PATH, in its order") {
  Programs t;
  CHECK(t.Find("tool", {"HOME=/", "PATH=/bin:/opt:/usr/bin"}) == "/opt/tool");
  CHECK(t.Find("vi", {"PATH=/nowhere:/bin/sh:/usr/bin"}) == "/usr/bin/vi");
  // The first PATH counts.
  CHECK(t.Find("sh", {"PATH=/opt", "PATH=/bin"}) == "sh: command not found");
}

TEST_CASE("without PATH it is /bin and /usr/bin") {
  Programs t;
  CHECK(t.Find("sh") == "/bin/sh");
  CHECK(t.Find("vi", {"PATHS=/opt"}) == "/usr/bin/vi");
  CHECK(t.Find("tool") == "tool: command not found");
}

TEST_CASE("an empty directory in PATH is the working directory") {
  Programs t;
  t.context->SetCwd(*Vfs::Resolve(t.ctx, t.base, "/work", {}));
  for (const char* path : {"PATH=", "PATH=:/bin", "PATH=/bin:", "PATH=/bin::/opt"}) {
    CHECK(t.Find("here", {path}) == "here");
  }
  CHECK(t.Find("here", {"PATH=/bin"}) == "here: command not found");
}

TEST_CASE("one that may not be executed gives way to a later one, and is told otherwise") {
  Programs t;
  CHECK(t.Find("shared", {"PATH=/opt:/usr/bin"}) == "/usr/bin/shared");
  CHECK(t.Find("only", {"PATH=/opt:/usr/bin"}) == "only: Permission denied");
  CHECK(t.code == absl::StatusCode::kPermissionDenied);
  // A directory of that name is no program.
  REQUIRE(t.Mkdir("/opt/dir") == Errno{});
  CHECK(t.Find("dir", {"PATH=/opt"}) == "dir: Permission denied");
}

TEST_CASE("a name with a slash is a path, whatever PATH says") {
  Programs t;
  CHECK(t.Find("/opt/tool", {"PATH=/bin"}) == "/opt/tool");
  t.context->SetCwd(*Vfs::Resolve(t.ctx, t.base, "/usr", {}));
  CHECK(t.Find("bin/vi") == "bin/vi");
  CHECK(t.Find("./bin/vi") == "./bin/vi");
}

TEST_CASE("what is told of a path that cannot be run") {
  Programs t;
  CHECK(t.Find("/bin/nothing") == "/bin/nothing: No such file or directory");
  CHECK(t.code == absl::StatusCode::kNotFound);
  CHECK(t.Find("/bin/sh/x") == "/bin/sh/x: Not a directory");
  CHECK(t.code == absl::StatusCode::kNotFound);
  CHECK(t.Find("/opt/only") == "/opt/only: Permission denied");
  CHECK(t.code == absl::StatusCode::kPermissionDenied);
  CHECK(t.Find("/opt") == "/opt: Permission denied");
  CHECK(t.code == absl::StatusCode::kPermissionDenied);
  REQUIRE(t.Symlink("/loop", "/loop") == Errno{});
  CHECK(t.Find("/loop") == "/loop: Too many levels of symbolic links");
  CHECK(t.code == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("nothing is called by an empty name") {
  Programs t;
  CHECK(t.Find("") == "'': No such file or directory");
  CHECK(t.code == absl::StatusCode::kNotFound);
}

TEST_CASE("a user who may not search a directory is denied") {
  Programs t;
  const DentryRef opt = *Vfs::Resolve(t.ctx, t.base, "/opt", {});
  SetAttrRequest change;
  change.mode = 0700;
  REQUIRE(opt->inode()->SetAttr(t.ctx, change).ok());
  t.ctx = UserContext(1000, 1000);
  CHECK(t.Find("/opt/tool") == "/opt/tool: Permission denied");
  CHECK(t.Find("tool", {"PATH=/opt"}) == "tool: Permission denied");
  CHECK(t.Find("sh", {"PATH=/opt:/bin"}) == "/bin/sh");
}

TEST_CASE("errors of execve become the codes of Boot") {
  CHECK(CommandError("x", Errno::kNOEXEC).code() == absl::StatusCode::kFailedPrecondition);
  CHECK(CommandError("x", Errno::kNOEXEC).message() == "x: Exec format error");
  CHECK(CommandError("x", Errno::kLIBBAD).code() == absl::StatusCode::kFailedPrecondition);
  CHECK(CommandError("x", Errno::kPERM).code() == absl::StatusCode::kPermissionDenied);
  CHECK(CommandError("x", Errno::kNOMEM).code() == absl::StatusCode::kResourceExhausted);
  CHECK(CommandError("x", Errno::kIO).code() == absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace ringfence::sentry
