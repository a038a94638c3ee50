// Watches: where the VFS says what happens to files, for those who watch them (inotify(7)).
//
// The one place of such hooks. While nobody watches anything a hook is one relaxed load.
// Threads: any. Call them without locks of the VFS other than directories' change mutexes.
#ifndef RINGFENCE_SENTRY_VFS_WATCH_H_
#define RINGFENCE_SENTRY_VFS_WATCH_H_

#include <atomic>
#include <cstdint>
#include <string_view>

#include "sentry/vfs/vfs.h"

namespace ringfence::sentry {

// IN_* of inotify(7).
inline constexpr uint32_t kWatchAccess = 0x1, kWatchModify = 0x2, kWatchAttrib = 0x4,
                          kWatchCloseWrite = 0x8, kWatchCloseNoWrite = 0x10, kWatchOpen = 0x20,
                          kWatchMovedFrom = 0x40, kWatchMovedTo = 0x80, kWatchCreate = 0x100,
                          kWatchDelete = 0x200, kWatchDeleteSelf = 0x400, kWatchMoveSelf = 0x800,
                          kWatchIsDirectory = 0x40000000;

// Something that happened. `self` or `directory` may be null: nothing for its watchers.
struct WatchEvent {
  uint32_t mask = 0;
  uint32_t cookie = 0;
  const Inode* self = nullptr;
  const Inode* directory = nullptr;  // told with `name`
  std::string_view name;
  bool unlinked = false;  // the file has lost that name
};

class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual void Event(const WatchEvent& event) = 0;
  // A file lost its last name. It ends now, or with the last of its open files; `held`: references
  // to the node that the caller has.
  virtual void Unlinked(const NodeRef& node, int64_t held) = 0;
  // An open file ends; it still has its dentry.
  virtual void Closed(const File& file) = 0;
};

class Watches {
 public:
  // Null: nobody watches. The sink lives for ever.
  static void SetSink(WatchSink* sink) { sink_.store(sink, std::memory_order_release); }

  // What was done to an open file, or to a node: told to its watchers and to its directory's.
  static void OnFile(const File& file, uint32_t mask) {
    if (Sink() != nullptr) TellFile(file, mask);
  }
  static void OnNode(const NodeRef& node, uint32_t mask) {
    if (Sink() != nullptr) TellNode(node, mask);
  }
  static void OnSetAttr(const NodeRef& node, const SetAttrRequest& request) {
    if (Sink() != nullptr) TellSetAttr(node, request);
  }
  static void OnCreate(const NodeRef& directory, std::string_view name, const InodeRef& made) {
    if (Sink() != nullptr) TellCreate(directory, name, made);
  }
  // link(2): `source` got one more name.
  static void OnLink(const NodeRef& source) {
    if (Sink() != nullptr) TellSelf(source, kWatchAttrib);
  }
  // After the file system has removed it. `held` as in WatchSink::Unlinked.
  static void OnRemove(const CallContext& ctx, const NodeRef& directory, std::string_view name,
                       const NodeRef& victim, int64_t held) {
    if (Sink() != nullptr) TellRemove(ctx, directory, name, victim, held);
  }
  struct Move {
    const NodeRef& old_directory;
    std::string_view old_name;
    const NodeRef& new_directory;
    std::string_view new_name;
    const NodeRef& moved;
    const NodeRef& replaced;  // may be null
  };
  static void OnMove(const CallContext& ctx, const Move& move, int64_t held) {
    if (Sink() != nullptr) TellMove(ctx, move, held);
  }
  static void OnClose(const File& file) {
    if (Sink() != nullptr) TellClose(file);
  }

 private:
  static WatchSink* Sink() { return sink_.load(std::memory_order_relaxed); }
  static void TellFile(const File& file, uint32_t mask);
  static void TellNode(const NodeRef& node, uint32_t mask);
  static void TellSelf(const NodeRef& node, uint32_t mask);
  static void TellSetAttr(const NodeRef& node, const SetAttrRequest& request);
  static void TellCreate(const NodeRef& directory, std::string_view name, const InodeRef& made);
  static void TellRemove(const CallContext& ctx, const NodeRef& directory, std::string_view name,
                         const NodeRef& victim, int64_t held);
  static void TellMove(const CallContext& ctx, const Move& move, int64_t held);
  static void TellClose(const File& file);
  static void Tell(const WatchEvent& event) {
    if (WatchSink* const sink = sink_.load(std::memory_order_acquire)) sink->Event(event);
  }
  static inline std::atomic<WatchSink*> sink_{nullptr};
};

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_VFS_WATCH_H_
