// What a hostile gofer answers instead.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/fuzz/hostile_gofer.h"

namespace ringfence::fuzz {
namespace {

// What a choice of bits in the first byte of an answer asks for; 0 is an honest answer.
constexpr uint8_t kHow = 0x0f, kLie = 0x10, kLieAgain = 0x20, kLieAboutFds = 0x40;

constexpr uint32_t kModes[] = {S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK | 0777, S_IFIFO,
                               S_IFCHR,        S_IFBLK,        S_IFSOCK,       0,
                               0644,           S_IFMT};
constexpr const char* kNames[] = {"a", "b", "c", "f", "l", "p", "new", ".", "..", "", "x/y"};

}  // namespace

template <typename Request, typename Reply>
grpc::Status HostileGofer::Answer(const Request& request, Reply* reply) {
  const uint8_t how = answers_.Byte();
  lies_about_fds_ = (how & kLieAboutFds) != 0;
  switch (how & kHow) {
    case 1:
      reply->set_error(AnyError());
      return grpc::Status::OK;
    case 2:
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "lost");
    case 3:
      // gRPC refuses what is no message at all.
      if (reply->ParseFromString(answers_.Bytes(answers_.Below(128)))) return grpc::Status::OK;
      return grpc::Status(grpc::StatusCode::INTERNAL, "parsing");
    case 4:  // done, it says
      return grpc::Status::OK;
    case 5:  // done, but it denies it
      Serve(request, reply);
      reply->set_error(AnyError());
      break;
    default:
      Serve(request, reply);
  }
  if ((how & kLie) != 0) Lie(reply);
  if ((how & kLieAgain) != 0) Lie(reply);
  return grpc::Status::OK;
}

// Each call's own Answer is made here, where the template is.
#define RINGFENCE_FUZZ_ANSWER(method) \
  template grpc::Status HostileGofer::Answer(const wire::method##Request&, wire::method##Reply*);
RINGFENCE_FUZZ_ANSWER(Attach)
RINGFENCE_FUZZ_ANSWER(Walk)
RINGFENCE_FUZZ_ANSWER(GetAttr)
RINGFENCE_FUZZ_ANSWER(ReadLink)
RINGFENCE_FUZZ_ANSWER(Open)
RINGFENCE_FUZZ_ANSWER(ReadDir)
RINGFENCE_FUZZ_ANSWER(ReadTree)
RINGFENCE_FUZZ_ANSWER(StatFs)
RINGFENCE_FUZZ_ANSWER(Close)
RINGFENCE_FUZZ_ANSWER(Make)
RINGFENCE_FUZZ_ANSWER(Link)
RINGFENCE_FUZZ_ANSWER(Unlink)
RINGFENCE_FUZZ_ANSWER(Rename)
RINGFENCE_FUZZ_ANSWER(SetAttr)
RINGFENCE_FUZZ_ANSWER(GetXattr)
RINGFENCE_FUZZ_ANSWER(ListXattr)
RINGFENCE_FUZZ_ANSWER(SetXattr)
RINGFENCE_FUZZ_ANSWER(RemoveXattr)
RINGFENCE_FUZZ_ANSWER(Sync)
#undef RINGFENCE_FUZZ_ANSWER

int32_t HostileGofer::AnyError() { return static_cast<int32_t>(answers_.Number()); }

std::string HostileGofer::AnyText() {
  const uint8_t how = answers_.Byte();
  if (how < 0x80) return kNames[how % std::size(kNames)];
  if (how < 0xc0) return answers_.Bytes(how % 16);
  // At and beyond the bounds of names, targets and values.
  static constexpr size_t kLengths[] = {255, 256, 4095, 4096, 65536, 65537};
  return std::string(kLengths[how % std::size(kLengths)], 'x');
}

UniqueFd HostileGofer::AnyFd() {
  int fd = -1;
  int pair[2] = {-1, -1};
  switch (answers_.Below(8)) {
    case 0:
      return UniqueFd(memfd_create("other", MFD_CLOEXEC));
    case 1:
      fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
      break;
    case 2:
      fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
      break;
    case 3:
      fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      break;
    case 4:
      fd = open("/dev/null", O_RDWR | O_CLOEXEC);
      break;
    case 5:
      fd = eventfd(0, EFD_CLOEXEC);
      break;
    case 6:
      if (pipe2(pair, O_CLOEXEC) == 0) {
        fd = pair[0];
        close(pair[1]);
      }
      break;
    default:
      fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
      fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
  }
  return UniqueFd(fd);
}

void HostileGofer::Donate(uint64_t donation, int fd) {
  if (!lies_about_fds_) return (void)donations_.Send(donation, fd);
  const uint8_t how = answers_.Byte();
  if ((how & 1) != 0) {
    const char other[16] = {};
    (void)!send(donations_.socket(), other, 1 + how % 16, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  if ((how & 2) != 0) {
    const UniqueFd stray = AnyFd();
    if (stray.valid()) (void)donations_.Send(answers_.Number(), stray.get());
  }
  if ((how & 4) != 0) {
    const UniqueFd wrong = AnyFd();
    if (wrong.valid()) (void)donations_.Send(donation, wrong.get());
  }
  if ((how & 8) != 0) (void)donations_.Send(donation, fd);
}

void HostileGofer::Lie(wire::Time* time) {
  if (answers_.OneIn(2)) {
    time->set_nsec(answers_.Number32());
  } else {
    time->set_sec(static_cast<int64_t>(answers_.Number()));
  }
}

void HostileGofer::Lie(wire::Attributes* attr) {
  switch (answers_.Below(12)) {
    case 0:
      return attr->set_mode(answers_.OneOf(kModes));
    case 1:  // one that something else has
      return attr->set_ino(answers_.Below(16));
    case 2: {  // another object of the tree, in every respect
      const Ino ino = 1 + answers_.Below(12);
      if (objects_.contains(ino)) Describe(ino, attr);
      return;
    }
    case 3:
      return attr->set_dev(answers_.Number());
    case 4:
      return attr->set_nlink(answers_.Number());
    case 5:
      return attr->set_size(answers_.Number());
    case 6:
      attr->set_uid(answers_.Number32());
      return attr->set_gid(answers_.Number32());
    case 7:
      return attr->set_blksize(answers_.Number32());
    case 8:
      return Lie(attr->mutable_btime());
    case 9:
      return Lie(attr->mutable_mtime());
    case 10:
      return attr->set_mode(answers_.Number32());
    default:
      attr->set_rdev(answers_.Number());
      return attr->set_ino(answers_.Number());
  }
}

void HostileGofer::Lie(wire::Node* node) {
  switch (answers_.Below(4)) {
    case 0:
      return node->set_id(answers_.Below(16));
    case 1:
      return node->set_target(AnyText());
    default:
      return Lie(node->mutable_attr());
  }
}

void HostileGofer::Lie(wire::DirectoryEntry* entry) {
  switch (answers_.Below(6)) {
    case 0:
      return entry->set_name(AnyText());
    case 1:
      return entry->set_next_cookie(answers_.Number());
    case 2:
      return entry->set_id(answers_.Number());
    case 3:
      return entry->set_target(AnyText());
    default:
      return Lie(entry->mutable_attr());
  }
}

void HostileGofer::Lie(google::protobuf::RepeatedPtrField<wire::DirectoryEntry>* entries) {
  const size_t which = answers_.Byte();
  if (entries->empty() || which >= 0xf0) {
    wire::DirectoryEntry* more = entries->Add();
    more->set_name(AnyText());
    Describe(1 + which % objects_.size(), more->mutable_attr());
    return;
  }
  wire::DirectoryEntry* entry = entries->Mutable(static_cast<int>(which) % entries->size());
  if (answers_.OneIn(8)) {
    const wire::DirectoryEntry copy = *entry;
    *entries->Add() = copy;
    return;
  }
  Lie(entry);
}

void HostileGofer::Lie(wire::WalkReply* reply) {
  switch (answers_.Below(6)) {
    case 0:
      if (!reply->nodes().empty()) reply->mutable_nodes()->RemoveLast();
      return;
    case 1:
      return Lie(reply->add_nodes());
    case 2:
      return reply->set_stopped(AnyError());
    default:
      break;
  }
  if (reply->nodes().empty()) Hand(1 + answers_.Below(10), reply->add_nodes());
  const auto size = static_cast<size_t>(reply->nodes_size());
  Lie(reply->mutable_nodes(static_cast<int>(answers_.Byte() % size)));
}

void HostileGofer::Lie(wire::ReadDirReply* reply) {
  if (answers_.OneIn(4)) {
    reply->set_end(!reply->end());
  } else {
    Lie(reply->mutable_entries());
  }
}

void HostileGofer::Lie(wire::ReadTreeReply* reply) {
  if (reply->directories().empty() || answers_.OneIn(8)) {
    wire::DirectoryListing* more = reply->add_directories();
    Describe(1 + answers_.Below(10), more->mutable_attr());
    List(1, 0, false, more->mutable_entries());
    return;
  }
  const auto size = static_cast<size_t>(reply->directories_size());
  wire::DirectoryListing* listing =
      reply->mutable_directories(static_cast<int>(answers_.Byte() % size));
  if (answers_.OneIn(4)) {
    Lie(listing->mutable_attr());
  } else {
    Lie(listing->mutable_entries());
  }
}

void HostileGofer::Lie(wire::StatFsReply* reply) {
  reply->set_type(answers_.Number());
  reply->set_bsize(answers_.Number());
  reply->set_blocks(answers_.Number());
  reply->set_frsize(answers_.Number());
  reply->set_namelen(answers_.Number());
  reply->set_flags(answers_.Number());
}

void HostileGofer::Lie(wire::MakeReply* reply) {
  if (answers_.OneIn(3)) {
    Lie(reply->mutable_directory());
  } else {
    Lie(reply->mutable_node());
  }
}

void HostileGofer::Lie(wire::LinkReply* reply) {
  Lie(answers_.OneIn(2) ? reply->mutable_attr() : reply->mutable_directory());
}

void HostileGofer::Lie(wire::RenameReply* reply) {
  Lie(answers_.OneIn(2) ? reply->mutable_old_directory() : reply->mutable_new_directory());
}

void HostileGofer::Lie(wire::ListXattrReply* reply) {
  size_t count = answers_.Below(4);
  const std::string name = AnyText();
  if (count == 3) count = name.size() < 16 ? 4097 : 4;
  for (; count > 0; --count) reply->add_names(name);
}

}  // namespace ringfence::fuzz
