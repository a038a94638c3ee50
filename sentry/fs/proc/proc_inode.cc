#include "sentry/fs/proc/proc_inode.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ringfence::sentry {
namespace {

constexpr size_t kMaxWrite = 4096;
constexpr uint64_t kFirstInode = 4026531840;  // where Linux starts for files without a process

Timespec Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return {now.tv_sec, now.tv_nsec};
}

// An open text file: the text made by the read at offset 0 serves the reads that follow.
class TextFile final : public File {
 public:
  TextFile(std::shared_ptr<ProcText> inode, uint32_t flags)
      : File(flags), inode_(std::move(inode)) {}

  Result<size_t> Read(const CallContext& ctx, UserIo& io, const int64_t* offset) override {
    absl::MutexLock lock(&offset_mutex_);
    const int64_t at = offset != nullptr ? *offset : offset_;
    if (at < 0) return Errno::kINVAL;
    if (at == 0 || !generated_) {
      text_ = TRY(inode_->Generate(ctx));
      generated_ = true;
    }
    if (static_cast<uint64_t>(at) >= text_.size()) return size_t{0};
    const size_t n = TRY(io.Write(text_.data() + at, text_.size() - static_cast<size_t>(at)));
    if (offset == nullptr) offset_ = at + static_cast<int64_t>(n);
    return n;
  }

  Result<size_t> Write(const CallContext& ctx, UserIo& io, const int64_t*) override {
    std::string text(std::min<uint64_t>(io.remaining(), kMaxWrite), '\0');
    const size_t n = TRY(io.Read(text.data(), text.size()));
    TRY(inode_->Consume(ctx, std::string_view(text).substr(0, n)));
    return n;
  }

  Result<int64_t> Seek(const CallContext&, int64_t offset, int whence) override {
    absl::MutexLock lock(&offset_mutex_);
    int64_t base = 0;
    if (whence == SEEK_CUR) base = offset_;
    if (whence != SEEK_SET && whence != SEEK_CUR) return Errno::kINVAL;
    int64_t target;
    if (__builtin_add_overflow(base, offset, &target) || target < 0) return Errno::kINVAL;
    offset_ = target;
    return target;
  }

 private:
  const std::shared_ptr<ProcText> inode_;
  std::string text_ ABSL_GUARDED_BY(offset_mutex_);
  bool generated_ ABSL_GUARDED_BY(offset_mutex_) = false;
};

class ProcDirectoryFile final : public DirectoryFile {
 public:
  ProcDirectoryFile(std::shared_ptr<ProcDirectory> inode, uint32_t flags)
      : DirectoryFile(flags), inode_(std::move(inode)) {}

 protected:
  Result<void> ReadEntries(const CallContext& ctx, int64_t position, EmitFn emit) override {
    const auto names = TRY(inode_->Names(ctx, position - kFirstEntry));
    for (const ProcDirectory::Name& name : names) {
      const uint64_t ino = kFirstInode + std::hash<std::string>()(name.name) % 1000000;
      const DirEntry entry{ino, name.position + 1 + kFirstEntry, DirentType(name.type), name.name};
      if (!emit(entry)) break;
    }
    return Ok();
  }

 private:
  const std::shared_ptr<ProcDirectory> inode_;
};

}  // namespace

Result<Attributes> ProcInode::GetAttr(const CallContext&) {
  Attributes attributes;
  attributes.dev = fs()->device_id();
  const uint64_t process = static_cast<uint64_t>(place_.tid) << 20;
  attributes.ino = place_.salt == 0 && place_.tid == 0 ? 1
                   : place_.tid == 0                   ? kFirstInode + place_.salt
                                                       : process + place_.salt % (1 << 20);
  attributes.mode = mode_;
  attributes.nlink = Links();
  attributes.uid = place_.uid;
  attributes.gid = place_.gid;
  attributes.blksize = 1024;
  attributes.atime = attributes.mtime = attributes.ctime = attributes.btime = Now();
  return attributes;
}

ProcText::ProcText(const ProcPlace& place, uint32_t permissions, ProcGenerator generate,
                   ProcConsumer consume, ProcGuard guard)
    : ProcInode(place, S_IFREG | permissions),
      generate_(std::move(generate)),
      consume_(std::move(consume)),
      guard_(std::move(guard)) {}

Result<FileRef> ProcText::Open(const CallContext& ctx, uint32_t flags) {
  if (guard_ != nullptr) TRY(guard_(ctx, place()));
  return FileRef(
      std::make_shared<TextFile>(std::static_pointer_cast<ProcText>(shared_from_this()), flags));
}

Result<void> ProcText::SetAttr(const CallContext&, const SetAttrRequest& request) {
  if (request.mode || request.uid || request.gid) return Errno::kPERM;
  return Ok();
}

Result<void> ProcText::Consume(const CallContext& ctx, std::string_view text) const {
  if (consume_ == nullptr) return Errno::kIO;
  return consume_(ctx, place(), text);
}

ProcLink::ProcLink(const ProcPlace& place, Target target, Magic magic, uint32_t permissions)
    : ProcInode(place, S_IFLNK | permissions),
      target_(std::move(target)),
      magic_(std::move(magic)) {}

Result<std::optional<DentryRef>> ProcLink::MagicLink(const CallContext& ctx) {
  if (magic_ == nullptr) return std::optional<DentryRef>();
  return std::optional<DentryRef>(TRY(magic_(ctx, place())));
}

Result<FileRef> ProcDirectory::Open(const CallContext&, uint32_t flags) {
  return FileRef(std::make_shared<ProcDirectoryFile>(
      std::static_pointer_cast<ProcDirectory>(shared_from_this()), flags));
}

Result<InodeRef> ProcDirectory::Lookup(const CallContext& ctx, std::string_view name) {
  return Find(ctx, name);
}

Result<std::vector<ProcDirectory::Name>> ProcTableDirectory::Names(const CallContext&,
                                                                   int64_t position) {
  std::vector<Name> names;
  for (size_t i = static_cast<size_t>(std::max<int64_t>(position, 0)); i < rows_->size(); i++) {
    names.push_back({std::string((*rows_)[i].name), (*rows_)[i].type, static_cast<int64_t>(i)});
  }
  return names;
}

Result<InodeRef> ProcTableDirectory::Find(const CallContext&, std::string_view name) {
  for (size_t i = 0; i < rows_->size(); i++) {
    if ((*rows_)[i].name == name) return (*rows_)[i].make(place().Child(i));
  }
  return Errno::kNOENT;
}

ProcRow TextRow(std::string_view name, uint32_t permissions, ProcGenerator generate,
                ProcConsumer consume, ProcGuard guard) {
  return {name, S_IFREG, [=](const ProcPlace& place) -> InodeRef {
            return std::make_shared<ProcText>(place, permissions, generate, consume, guard);
          }};
}

ProcGenerator FixedText(std::string text) {
  return [text](const CallContext&, const ProcPlace&) -> Result<std::string> { return text; };
}

std::string EscapedText(std::string_view text, std::string_view special) {
  std::string escaped;
  for (const char c : text) {
    if (special.find(c) == std::string_view::npos) {
      escaped += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    escaped += '\\';
    for (const int shift : {6, 3, 0}) escaped += static_cast<char>('0' + (byte >> shift & 7));
  }
  return escaped;
}

ProcRow LinkRow(std::string_view name, ProcLink::Target target, ProcLink::Magic magic) {
  return {name, S_IFLNK, [=](const ProcPlace& place) -> InodeRef {
            return std::make_shared<ProcLink>(place, target, magic);
          }};
}

ProcRow TableRow(std::string_view name, const std::vector<ProcRow>* rows) {
  return {name, S_IFDIR, [=](const ProcPlace& place) -> InodeRef {
            return std::make_shared<ProcTableDirectory>(place, rows);
          }};
}

std::string MaskText(const std::vector<bool>& bits) {
  constexpr size_t kWord = 32;
  const size_t words = std::max<size_t>((bits.size() + kWord - 1) / kWord, 1);
  std::string text;
  for (size_t word = words; word-- > 0;) {
    uint32_t value = 0;
    for (size_t i = word * kWord; i < std::min(bits.size(), (word + 1) * kWord); ++i) {
      if (bits[i]) value |= uint32_t{1} << i % kWord;
    }
    if (words == 1) return absl::StrFormat("%x", value);
    absl::StrAppendFormat(&text, "%s%08x", text.empty() ? "" : ",", value);
  }
  return text;
}

std::string ListText(const std::vector<bool>& bits) {
  std::string text;
  for (size_t i = 0; i < bits.size(); ++i) {
    if (!bits[i]) continue;
    size_t last = i;
    while (last + 1 < bits.size() && bits[last + 1]) ++last;
    absl::StrAppend(&text, text.empty() ? "" : ",", i);
    if (last != i) absl::StrAppend(&text, "-", last);
    i = last;
  }
  return text;
}

int32_t ParseId(std::string_view text) {
  if (text.empty() || text.size() > 9 || (text[0] == '0' && text.size() > 1)) return -1;
  int32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

}  // namespace ringfence::sentry
