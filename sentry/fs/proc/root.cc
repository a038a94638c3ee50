// The file system itself and its root: the files of the system, then a directory per process.
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/proc/proc_inode.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kProcMagic = 0x9fa0;     // statfs(2)
constexpr int64_t kFirstProcess = 1 << 16;  // position of process 0 in a listing
constexpr uint64_t kProcessSalt = 1 << 12;

class ProcFs final : public FileSystem {
 public:
  explicit ProcFs(const ProcSource* source) : root_(MakeProcRoot({this, source})) {}
  std::string_view type() const override { return "proc"; }
  InodeRef root() override { return root_; }
  Result<FsAttributes> StatFs(const CallContext&) override {
    FsAttributes attributes;
    attributes.type = kProcMagic;
    return attributes;
  }

 private:
  const InodeRef root_;
};

class ProcRoot final : public ProcTableDirectory {
 public:
  explicit ProcRoot(const ProcPlace& place) : ProcTableDirectory(place, &ProcSystemRows()) {}

  Result<std::vector<Name>> Names(const CallContext& ctx, int64_t position) override {
    std::vector<Name> names;
    if (position < kFirstProcess) names = TRY(ProcTableDirectory::Names(ctx, position));
    for (const int32_t tgid : place().source->Processes()) {
      if (kFirstProcess + tgid < position) continue;
      names.push_back({absl::StrCat(tgid), S_IFDIR, kFirstProcess + tgid});
    }
    return names;
  }

 protected:
  Result<InodeRef> Find(const CallContext& ctx, std::string_view name) override {
    const int32_t tid = ParseId(name);
    if (tid <= 0) return ProcTableDirectory::Find(ctx, name);
    const auto task = place().source->Find(tid);
    if (!task.has_value()) return Errno::kNOENT;
    ProcPlace child = place().Child(kProcessSalt);
    child.tid = tid;
    child.uid = task->creds->euid;
    child.gid = task->creds->egid;
    return MakeProcProcess(child, false);
  }
};

}  // namespace

InodeRef MakeProcRoot(const ProcPlace& place) { return std::make_shared<ProcRoot>(place); }

std::shared_ptr<FileSystem> MakeProcFs(const ProcSource* source) {
  return std::make_shared<ProcFs>(source);
}

}  // namespace ringfence::sentry
