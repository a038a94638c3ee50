#include "sentry/fs/dev/dev.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace ringfence::sentry {
namespace {

struct Node {
  const char* name;
  uint32_t mode, major, minor;
};
constexpr Node kNodes[] = {
    {"null", 0666, 1, 3},    {"zero", 0666, 1, 5}, {"full", 0666, 1, 7},    {"random", 0666, 1, 8},
    {"urandom", 0666, 1, 9}, {"tty", 0666, 5, 0},  {"console", 0600, 5, 1}, {"ptmx", 0666, 5, 2},
};

struct Link {
  const char* name;
  const char* target;
};
constexpr Link kLinks[] = {
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
};

struct Directory {
  const char* name;
  uint32_t mode;
};
constexpr Directory kDirectories[] = {{"shm", 01777}, {"pts", 0755}};

}  // namespace

Result<std::shared_ptr<Tmpfs>> MakeDevFs(Tmpfs::Options options) {
  options.root_mode = 0755;
  options.type = "devtmpfs";
  std::shared_ptr<Tmpfs> fs = Tmpfs::Create(options);
  CallContext ctx;
  auto creds = std::make_shared<Credentials>();
  creds->fsuid = options.uid;
  creds->fsgid = options.gid;
  ctx.creds = std::move(creds);
  InodeRef root = fs->root();
  for (const Node& node : kNodes) {
    TRY(root->Create(ctx, node.name, S_IFCHR | node.mode, makedev(node.major, node.minor)));
  }
  for (const Link& link : kLinks) TRY(root->Symlink(ctx, link.name, link.target));
  for (const Directory& directory : kDirectories) {
    TRY(root->Mkdir(ctx, directory.name, directory.mode));
  }
  return fs;
}

}  // namespace ringfence::sentry
