// The kinds of inodes that procfs is made of; private to this folder.
#ifndef RINGFENCE_SENTRY_FS_PROC_PROC_INODE_H_
#define RINGFENCE_SENTRY_FS_PROC_PROC_INODE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sentry/fs/proc/proc_source.h"
#include "sentry/vfs/directory_file.h"
#include "sentry/vfs/inode.h"

namespace ringfence::sentry {

// Where an inode stands: numbers are derived from it, so that the same path has the same number.
struct ProcPlace {
  FileSystem* fs;
  const ProcSource* source;
  int32_t tid = 0;    // 0: not below a process
  uint64_t salt = 0;  // tells the files of one directory apart
  Uid uid = 0;
  Gid gid = 0;
  ProcPlace Child(uint64_t child_salt) const {
    ProcPlace place = *this;
    place.salt = salt * 1009 + child_salt + 1;
    return place;
  }
};

class ProcInode : public Inode {
 public:
  ProcInode(const ProcPlace& place, uint32_t mode) : Inode(place.fs), place_(place), mode_(mode) {}
  Result<Attributes> GetAttr(const CallContext& ctx) override;
  uint32_t type() const override { return mode_ & 0170000; }
  bool CacheLookups() const override { return false; }
  const ProcPlace& place() const { return place_; }

 protected:
  virtual uint64_t Links() const { return 1; }

 private:
  const ProcPlace place_;
  const uint32_t mode_;  // with type
};

// A file whose text `generate` makes; ESRCH and the like reach the reader.
using ProcGenerator = std::function<Result<std::string>(const CallContext&, const ProcPlace&)>;
// Takes what one write(2) brought, at most 4 KiB.
using ProcConsumer =
    std::function<Result<void>(const CallContext&, const ProcPlace&, std::string_view)>;

// Whether the file may be opened, beyond its permissions.
using ProcGuard = std::function<Result<void>(const CallContext&, const ProcPlace&)>;

class ProcText final : public ProcInode {
 public:
  ProcText(const ProcPlace& place, uint32_t permissions, ProcGenerator generate,
           ProcConsumer consume = nullptr, ProcGuard guard = nullptr);
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  // truncate(2) and O_TRUNC are accepted and do nothing, as shells redirect into /proc/sys.
  Result<void> SetAttr(const CallContext& ctx, const SetAttrRequest& request) override;
  Result<std::string> Generate(const CallContext& ctx) const { return generate_(ctx, place()); }
  Result<void> Consume(const CallContext& ctx, std::string_view text) const;

 private:
  const ProcGenerator generate_;
  const ProcConsumer consume_;
  const ProcGuard guard_;
};

class ProcLink final : public ProcInode {
 public:
  using Target = std::function<Result<std::string>(const CallContext&, const ProcPlace&)>;
  using Magic = std::function<Result<DentryRef>(const CallContext&, const ProcPlace&)>;
  ProcLink(const ProcPlace& place, Target target, Magic magic = nullptr,
           uint32_t permissions = 0777);
  Result<FileRef> Open(const CallContext&, uint32_t) override { return Errno::kLOOP; }
  Result<std::string> ReadLink(const CallContext& ctx) override { return target_(ctx, place()); }
  Result<std::optional<DentryRef>> MagicLink(const CallContext& ctx) override;

 private:
  const Target target_;
  const Magic magic_;
};

// A directory whose names come from Names and whose inodes from Find.
class ProcDirectory : public ProcInode {
 public:
  explicit ProcDirectory(const ProcPlace& place, uint32_t permissions = 0555)
      : ProcInode(place, 0040000 | permissions) {}
  Result<FileRef> Open(const CallContext& ctx, uint32_t flags) override;
  Result<InodeRef> Lookup(const CallContext& ctx, std::string_view name) override;

  struct Name {
    std::string name;
    uint32_t type;     // S_IFDIR, S_IFREG, S_IFLNK
    int64_t position;  // grows; stays the same while the name exists
  };
  // Linux looks a name up before it asks whether the directory can take it.
  Result<InodeRef> Create(const CallContext&, std::string_view, uint32_t, uint64_t) override {
    return Errno::kNOENT;
  }
  Result<InodeRef> Mkdir(const CallContext&, std::string_view, uint32_t) override {
    return Errno::kNOENT;
  }
  Result<InodeRef> Symlink(const CallContext&, std::string_view, std::string_view) override {
    return Errno::kNOENT;
  }

  // Names at `position` and after, in order.
  virtual Result<std::vector<Name>> Names(const CallContext& ctx, int64_t position) = 0;

 protected:
  // ENOENT.
  virtual Result<InodeRef> Find(const CallContext& ctx, std::string_view name) = 0;
  uint64_t Links() const override { return 2; }
};

// A directory given by a table; `Make` builds the inode of a row.
struct ProcRow {
  std::string_view name;
  uint32_t type;
  std::function<InodeRef(const ProcPlace&)> make;
};
class ProcTableDirectory : public ProcDirectory {
 public:
  ProcTableDirectory(const ProcPlace& place, const std::vector<ProcRow>* rows)
      : ProcDirectory(place), rows_(rows) {}
  Result<std::vector<Name>> Names(const CallContext& ctx, int64_t position) override;

 protected:
  Result<InodeRef> Find(const CallContext& ctx, std::string_view name) override;
  size_t rows() const { return rows_->size(); }

 private:
  const std::vector<ProcRow>* const rows_;
};

// Shorthands for tables.
ProcRow TextRow(std::string_view name, uint32_t permissions, ProcGenerator generate,
                ProcConsumer consume = nullptr, ProcGuard guard = nullptr);
ProcRow LinkRow(std::string_view name, ProcLink::Target target, ProcLink::Magic magic = nullptr);
ProcRow TableRow(std::string_view name, const std::vector<ProcRow>* rows);

// The task of an inode; ESRCH once it is gone, as Linux answers reads of an open file.
Result<TaskSnapshot> TaskOf(const ProcPlace& place);
// May the caller look into the memory of `task` (ptrace(2), PTRACE_MODE_READ)? EACCES.
Result<void> CheckPrivate(const CallContext& ctx, const TaskSnapshot& task);

ProcGenerator FixedText(std::string text);
// `text` with the characters of `special` as \ooo, as Linux's seq_file does.
std::string EscapedText(std::string_view text, std::string_view special);

// Bits as Linux prints masks (cpuset(7)): hexadecimal words of 32, the highest first, a lone word
// without zeros; and as a list, "0-2,5".
std::string MaskText(const std::vector<bool>& bits);
std::string ListText(const std::vector<bool>& bits);

// A decimal number without sign, space or leading zero; -1 when it is none.
int32_t ParseId(std::string_view text);

// The parts of the tree, each in a file of its own.
const std::vector<ProcRow>& ProcSystemRows();   // files of /proc
const std::vector<ProcRow>& ProcSysRows();      // /proc/sys
const std::vector<ProcRow>& ProcProcessRows();  // text files and links of /proc/PID
const std::vector<ProcRow>& ProcNetRows();      // /proc/PID/net
InodeRef MakeProcRoot(const ProcPlace& place);
InodeRef MakeProcMem(const ProcPlace& place);
InodeRef MakeProcProcess(const ProcPlace& place, bool thread);
InodeRef MakeProcFds(const ProcPlace& place, bool info);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_PROC_PROC_INODE_H_
