// mount(2), umount2(2) and /proc/PID/mountinfo on the tree of mounts.
#include "sentry/vfs/mount.h"

#include <sys/mount.h>

#include <catch2/catch.hpp>

#include "sentry/vfs/testing.h"

namespace ringfence::sentry {
namespace {

struct Fixture {
  Fixture() {
    top->top->Add("mnt")->Add("inner");
    top->top->Add("file", S_IFREG | 0644);
    ns = MountNamespace::Create(top, "topdev");
    context = std::make_shared<FsContext>(ns->root(), ns->root(), 022);
    base.fs = context.get();
  }
  DentryRef At(std::string_view path) { return Vfs::Resolve(ctx, base, path).value(); }
  Errno Mount(std::shared_ptr<FileSystem> fs, std::string_view at, uint64_t flags = 0) {
    const Result<void> done = ns->Mount(std::move(fs), At(at), "dev", flags);
    return done.ok() ? Errno{} : done.error();
  }
  Errno Unmount(const DentryRef& at, uint32_t flags = 0) {
    const Result<void> done = ns->Unmount(at, flags);
    return done.ok() ? Errno{} : done.error();
  }
  static CallContext Context() {
    CallContext ctx;
    ctx.creds = std::make_shared<Credentials>();
    return ctx;
  }
  std::shared_ptr<FakeFs> top = std::make_shared<FakeFs>();
  std::shared_ptr<MountNamespace> ns;
  std::shared_ptr<FsContext> context;
  PathBase base;
  CallContext ctx = Context();
};

TEST_CASE("a mount covers its directory until it is unmounted") {
  Fixture f;
  const auto other = std::make_shared<FakeFs>();
  other->top->Add("new");
  CHECK(f.Mount(other, "/mnt") == Errno{});
  CHECK(f.At("/mnt")->inode() == other->top);
  CHECK(f.At("/mnt/new/../..")->inode() == f.top->top);
  CHECK_FALSE(Vfs::Resolve(f.ctx, f.base, "/mnt/inner").ok());
  CHECK(f.Unmount(f.At("/mnt")) == Errno{});
  CHECK(Vfs::Resolve(f.ctx, f.base, "/mnt/inner").ok());
}

TEST_CASE("mounts stack") {
  Fixture f;
  const auto first = std::make_shared<FakeFs>(), second = std::make_shared<FakeFs>();
  CHECK(f.Mount(first, "/mnt") == Errno{});
  CHECK(f.Mount(second, "/mnt") == Errno{});
  CHECK(f.At("/mnt")->inode() == second->top);
  CHECK(f.Unmount(f.At("/mnt")) == Errno{});
  CHECK(f.At("/mnt")->inode() == first->top);
}

TEST_CASE("errors: no directory, no mount, busy") {
  Fixture f;
  CHECK(f.Mount(std::make_shared<FakeFs>(), "/file") == Errno::kNOTDIR);
  CHECK(f.Unmount(f.At("/mnt")) == Errno::kINVAL);
  CHECK(f.Unmount(f.At("/")) == Errno::kINVAL);
  const auto outer = std::make_shared<FakeFs>();
  outer->top->Add("deep");
  CHECK(f.Mount(outer, "/mnt") == Errno{});
  CHECK(f.Mount(std::make_shared<FakeFs>(), "/mnt/deep") == Errno{});
  CHECK(f.Unmount(f.At("/mnt")) == Errno::kBUSY);
  CHECK(f.Unmount(f.At("/mnt/deep")) == Errno{});
  CHECK(f.Unmount(f.At("/mnt")) == Errno{});
}

TEST_CASE("a detached tree goes, places on it stay usable and unreachable") {
  Fixture f;
  std::weak_ptr<FakeFs> gone;
  DentryRef kept;
  {
    const auto outer = std::make_shared<FakeFs>(), inner = std::make_shared<FakeFs>();
    outer->top->Add("deep");
    inner->top->Add("leaf");
    gone = inner;
    CHECK(f.Mount(outer, "/mnt") == Errno{});
    CHECK(f.Mount(inner, "/mnt/deep") == Errno{});
    kept = f.At("/mnt/deep/leaf");
    CHECK(Vfs::PathOf(kept, f.ns->root()) == "/mnt/deep/leaf");
    CHECK(f.Unmount(f.At("/mnt"), MNT_DETACH) == Errno{});
  }
  CHECK(f.At("/mnt")->inode() == f.top->top->children["mnt"]);
  CHECK(Vfs::PathOf(kept, f.ns->root()) == "(unreachable)/leaf");
  // ".." ends at the root of the mount that is left.
  PathBase base = f.base;
  base.start = kept;
  const DentryRef up = Vfs::Resolve(f.ctx, base, "../../..").value();
  CHECK(up->inode() == gone.lock()->top);
  base.start.reset();
  kept.reset();
  const_cast<DentryRef&>(up).reset();
  CHECK(gone.expired());
}

TEST_CASE("the list of mounts: parents first, with options, as seen from a root") {
  Fixture f;
  const auto outer = std::make_shared<FakeFs>(), inner = std::make_shared<FakeFs>();
  outer->top->Add("deep");
  inner->is_read_only = true;
  CHECK(f.Mount(outer, "/mnt", MS_NOSUID | MS_NODEV) == Errno{});
  CHECK(f.Mount(inner, "/mnt/deep") == Errno{});
  const auto all = f.ns->List(f.ns->root());
  REQUIRE(all.size() == 3);
  CHECK(all[0].path == "/");
  CHECK(all[0].source == "topdev");
  CHECK(all[1].path == "/mnt");
  CHECK(all[1].options == "rw,nosuid,nodev");
  CHECK(all[1].parent_id == all[0].id);
  CHECK(all[2].path == "/mnt/deep");
  CHECK(all[2].options == "ro");
  CHECK(all[2].parent_id == all[1].id);
  CHECK(all[2].root == "/");
  const auto from_inside = f.ns->List(f.At("/mnt"));
  REQUIRE(from_inside.size() == 2);
  CHECK(from_inside[0].path == "/");
  CHECK(from_inside[1].path == "/deep");
}

TEST_CASE("one file system under two mounts has one cache of names") {
  Fixture f;
  f.top->top->Add("other");
  const auto shared = std::make_shared<FakeFs>();
  shared->top->Add("x");
  CHECK(f.Mount(shared, "/mnt") == Errno{});
  const DentryRef x = f.At("/mnt/x");
  CHECK(shared->top->lookups == 1);
  CHECK(SamePlace(x, f.At("/mnt/x")));
  CHECK(shared->top->lookups == 1);
}

}  // namespace
}  // namespace ringfence::sentry
