// Private mappings of an object that gives them copies of a host's file: who asks for which frames,
// and that such leaves are as others of a file are.
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "sentry/mm/testing.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kPages = 8;
constexpr uint64_t kAllX = 0x7878787878787878;

// A file of 'x' in one chunk, all of it copied when a private mapping asks.
class CopiedFile final : public Mappable {
 public:
  explicit CopiedFile(platform::GuestMemory* memory) : memory_(memory) {
    const std::string content(kPages * kPageSize, 'x');
    REQUIRE(write(fd_, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    chunk_ = memory_->MapFileChunk(fd_, 0, false).value();
  }
  ~CopiedFile() override {
    memory_->Unref(chunk_);
    close(fd_);
  }
  Result<FrameRun> GetFrames(uint64_t page, uint64_t count, Access access) override {
    if (access == Access::kWrite) return Errno::kACCES;
    asked.push_back("live");
    return Part(page, count);
  }
  Result<FrameRun> GetPrivateFrames(uint64_t page, uint64_t count, bool exec) override {
    asked.push_back(exec ? "text" : "private");
    if (!memory_->HasCopies(chunk_.first)) {
      REQUIRE(memory_->CopyFileChunk(chunk_.first, fd_, 0, kPages).ok());
    }
    return Part(page, count);
  }
  void AddMapping(MemoryManager*, VirtRange, uint64_t) override {}
  void RemoveMapping(MemoryManager*, VirtRange, uint64_t) override {}
  std::string MappedName() const override { return "text"; }

  void Cut(uint64_t pages) {
    end_ = pages;
    REQUIRE(ftruncate(fd_, static_cast<off_t>(pages * kPageSize)) == 0);
  }
  // Nobody has stored to the copy: nor to the file, which a store never reaches from here.
  bool Unchanged(uint64_t page) const {
    std::string bytes(kPageSize, '?');
    const Frame frame{chunk_.first.index + page};
    return platform::SafeCopy(bytes.data(), memory_->HostAddress(frame), kPageSize) == kPageSize &&
           bytes == std::string(kPageSize, 'x');
  }
  uint32_t Mappings(uint64_t page) const {
    return memory_->RefCount(Frame{chunk_.first.index + page}) - 1;
  }
  std::vector<std::string> asked;

 private:
  Result<FrameRun> Part(uint64_t page, uint64_t count) {
    if (page >= end_) return Errno::kFAULT;
    const FrameRun part{Frame{chunk_.first.index + page}, std::min(count, end_ - page)};
    memory_->Ref(part);
    return part;
  }
  platform::GuestMemory* const memory_;
  const int fd_ = memfd_create("test", MFD_CLOEXEC);
  FrameRun chunk_{};
  uint64_t end_ = kPages;
};

struct Fixture {
  uint64_t Map(Prot prot, bool shared = false) {
    MapRequest request;
    request.length = kPages * kPageSize;
    request.prot = prot;
    request.shared = shared;
    request.object = file;
    request.kind = VmaKind::kFile;
    return mm->Map(request)->value();
  }
  VmaUsage UsageAt(uint64_t at) const {
    VmaUsage found;
    mm->VisitUsage([&](const VmaInfo& vma, const VmaUsage& usage) {
      if (vma.range.contains(VirtAddr(at))) found = usage;
    });
    return found;
  }
  using Asked = std::vector<std::string>;

  MemoryPlatform platform;
  std::shared_ptr<CopiedFile> file = std::make_shared<CopiedFile>(&platform.memory());
  MemoryManagerRef mm = MemoryManager::Create(&platform, {.randomize = false}).value();
};

TEST_CASE("a shared mapping never gets copies, a private one says what it is for") {
  Fixture f;
  CHECK(GuestRead(*f.mm, f.Map(Prot::R(), true)) == kAllX);
  CHECK(f.file->asked == Fixture::Asked{"live"});
  CHECK(GuestRead(*f.mm, f.Map(Prot::R())) == kAllX);
  CHECK(GuestRead(*f.mm, f.Map(Prot{.read = true, .exec = true})) == kAllX);
  CHECK(GuestRead(*f.mm, f.Map(Prot::RW())) == kAllX);
  CHECK(f.file->asked == Fixture::Asked{"live", "private", "text", "private"});
  // A first access that writes.
  CHECK(GuestWrite(*f.mm, f.Map(Prot::RW()), 1) == FaultResult::kHandled);
  CHECK(f.file->asked.back() == "private");
  CHECK(f.file->Unchanged(0));
}

TEST_CASE("a write to private text copies, also after fork, mremap and mprotect") {
  Fixture f;
  uint64_t at = f.Map(Prot{.read = true, .exec = true});
  CHECK(GuestRead(*f.mm, at) == kAllX);
  CHECK(GuestWrite(*f.mm, at, 1) == FaultResult::kAccessError);
  MemoryManagerRef child = f.mm->Fork().value();
  at = f.mm->Remap(VirtAddr(at), kPages * kPageSize, 2 * kPages * kPageSize, MREMAP_MAYMOVE,
                   VirtAddr(0))
           ->value();
  REQUIRE(f.mm->Protect(VirtAddr(at), kPages * kPageSize, Prot::RW()).ok());
  // As the only mapping, and as one of two.
  if (GENERATE(false, true)) child.reset();
  CHECK(GuestWrite(*f.mm, at + 3 * kPageSize, 7) == FaultResult::kHandled);
  CHECK(GuestRead(*f.mm, at + 3 * kPageSize) == 7);
  CHECK(f.file->Unchanged(3));
  CHECK(GuestRead(*f.mm, at) == kAllX);
  // Text again.
  REQUIRE(f.mm->Advise(VirtAddr(at), kPages * kPageSize, MADV_DONTNEED).ok());
  CHECK(GuestRead(*f.mm, at + 3 * kPageSize) == kAllX);
  child.reset();
  f.mm.reset();
  for (uint64_t page = 0; page < kPages; ++page) CHECK(f.file->Mappings(page) == 0);
}

TEST_CASE("pages that the file loses give SIGBUS") {
  Fixture f;
  const uint64_t at = f.Map(Prot{.read = true, .exec = true});
  CHECK(GuestRead(*f.mm, at + 7 * kPageSize) == kAllX);
  f.file->Cut(3);
  // As after KVM's EFAULT: a leaf without backing, which is dropped, then the fault with an
  // address.
  CHECK(GuestRead(*f.mm, at + 7 * kPageSize) ==
        ~uint64_t{0} - static_cast<uint64_t>(FaultResult::kBusError));
  f.mm->DropFileLeaves();
  CHECK(f.mm->HandleFault(VirtAddr(at + 7 * kPageSize), Access::kRead) == FaultResult::kBusError);
  CHECK(GuestRead(*f.mm, at + 2 * kPageSize) == kAllX);
  uint64_t value = 0;
  CHECK(f.mm->CopyIn(&value, VirtAddr(at + 3 * kPageSize), 8).error() == Errno::kFAULT);
}

TEST_CASE("smaps and mincore show copies as pages of the file") {
  Fixture f;
  const uint64_t at = f.Map(Prot{.read = true, .exec = true});
  CHECK(GuestRead(*f.mm, at) == kAllX);
  const VmaUsage usage = f.UsageAt(at);
  CHECK(usage.resident == kPages * kPageSize);
  CHECK(usage.private_clean == kPages * kPageSize);
  CHECK(usage.anonymous == 0);
  CHECK(usage.share_anonymous == 0);
  CHECK(f.mm->GetUsage().shared_bytes == kPages * kPageSize);
  const MemoryManagerRef child = f.mm->Fork().value();
  CHECK(f.UsageAt(at).shared_clean == kPages * kPageSize);
  CHECK(f.mm->Mincore(VirtAddr(at), kPages * kPageSize).value() == std::vector<uint8_t>(kPages, 1));
}

}  // namespace
}  // namespace ringfence::sentry
