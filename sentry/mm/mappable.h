// Mappable: something whose pages can be mapped (the address_space of Linux): a tmpfs file, a
// file of the gofer, shared anonymous memory. Implemented in fs/ and mm/, used by MemoryManager.
#ifndef RINGFENCE_SENTRY_MM_MAPPABLE_H_
#define RINGFENCE_SENTRY_MM_MAPPABLE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "platform/base/addr.h"
#include "platform/base/result.h"

namespace ringfence::sentry {

class KnownCallSites;
class MemoryManager;

class Mappable {
 public:
  virtual ~Mappable() = default;

  // Frames that hold the object's pages [page, page + count), count >= 1, as far as they are
  // consecutive; one reference per frame is the caller's. kWrite means a shared writable mapping
  // wants them. EFAULT when `page` is past the end (the guest gets SIGBUS), ENOMEM, EIO.
  // Never calls back into MemoryManager.
  virtual Result<FrameRun> GetFrames(uint64_t page, uint64_t count, Access access) = 0;

  // The same for a private mapping: frames that are only ever read, and which may be copies that
  // show the pages as they are now and not what becomes of them (mmap(2) leaves that open for
  // private mappings). `exec`: they may be executed.
  virtual Result<FrameRun> GetPrivateFrames(uint64_t page, uint64_t count, bool exec) {
    (void)exec;
    return GetFrames(page, count, Access::kRead);
  }

  // The MemoryManager tells which of its ranges show the object, so that truncation can find
  // them: the object calls MemoryManager::ZapMappable on each when pages go away. `page` is the
  // object's page at range.start. Called with the mm lock held: take only leaf locks.
  virtual void AddMapping(MemoryManager* mm, VirtRange range, uint64_t page) = 0;
  virtual void RemoveMapping(MemoryManager* mm, VirtRange range, uint64_t page) = 0;

  // SYSCALL instructions of this object that are worth rewriting where its text is mapped
  // (call_sites.h); null: not kept. Lives as long as the object.
  virtual KnownCallSites* known_call_sites() { return nullptr; }

  // Programs map its text again and again: what else they map of it is likely to be used at once.
  virtual bool IsHotText() const { return false; }

  // How many pages around a fault may be asked for in one GetFrames. Objects that would have to
  // make pages for it answer with a small number.
  virtual uint64_t FaultAround() const { return kPagesPerHuge; }

  // msync(2) MS_SYNC of a shared mapping: what was written to these pages is on stable storage
  // when it returns. Called without the mm lock. EIO.
  virtual Result<void> SyncPages(uint64_t page, uint64_t count) {
    (void)page, (void)count;
    return Ok();
  }

  // MADV_REMOVE: the pages read as zeros afterwards. Called without the mm lock. EOPNOTSUPP.
  virtual Result<void> RemovePages(uint64_t page, uint64_t count) {
    (void)page, (void)count;
    return Errno::kOPNOTSUPP;
  }

  // For /proc/PID/maps and for shared futex keys.
  virtual std::string MappedName() const = 0;  // path; "" for none
  virtual uint64_t DeviceId() const { return 0; }
  virtual uint64_t InodeNumber() const { return 0; }
};
using MappableRef = std::shared_ptr<Mappable>;

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_MM_MAPPABLE_H_
