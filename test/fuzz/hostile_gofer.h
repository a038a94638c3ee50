// A gofer without a process or files, at the level of the protocol: by default it answers as a
// small tree in memory would; where the choices say so, it fails, lies, or sends something else
// than it was asked for.
#ifndef RINGFENCE_TEST_FUZZ_HOSTILE_GOFER_H_
#define RINGFENCE_TEST_FUZZ_HOSTILE_GOFER_H_

#include <cstdint>
#include <map>
#include <string>

#include "gofer/wire/fd_channel.h"
#include "platform/base/unique_fd.h"
#include "proto/gofer/gofer.grpc.pb.h"
#include "test/fuzz/input.h"

namespace ringfence::fuzz {

namespace wire = gofer::wire;

// Nobody calls the variants of a call that do not wait.
#define RINGFENCE_FUZZ_CALL(method)                                                          \
 public:                                                                                     \
  grpc::Status method(grpc::ClientContext*, const wire::method##Request& request,            \
                      wire::method##Reply* reply) override {                                 \
    return Answer(request, reply);                                                           \
  }                                                                                          \
                                                                                             \
 private:                                                                                    \
  grpc::ClientAsyncResponseReaderInterface<wire::method##Reply>* Async##method##Raw(         \
      grpc::ClientContext*, const wire::method##Request&, grpc::CompletionQueue*) override { \
    return nullptr;                                                                          \
  }                                                                                          \
  grpc::ClientAsyncResponseReaderInterface<wire::method##Reply>* PrepareAsync##method##Raw(  \
      grpc::ClientContext*, const wire::method##Request&, grpc::CompletionQueue*) override { \
    return nullptr;                                                                          \
  }                                                                                          \
  /* As an honest gofer does. */                                                             \
  void Serve(const wire::method##Request& request, wire::method##Reply* reply);

class HostileGofer final : public wire::Gofer::StubInterface {
 public:
  HostileGofer(Choices answers, UniqueFd donations);

  RINGFENCE_FUZZ_CALL(Attach)
  RINGFENCE_FUZZ_CALL(Walk)
  RINGFENCE_FUZZ_CALL(GetAttr)
  RINGFENCE_FUZZ_CALL(ReadLink)
  RINGFENCE_FUZZ_CALL(Open)
  RINGFENCE_FUZZ_CALL(ReadDir)
  RINGFENCE_FUZZ_CALL(ReadTree)
  RINGFENCE_FUZZ_CALL(StatFs)
  RINGFENCE_FUZZ_CALL(Close)
  RINGFENCE_FUZZ_CALL(Make)
  RINGFENCE_FUZZ_CALL(Link)
  RINGFENCE_FUZZ_CALL(Unlink)
  RINGFENCE_FUZZ_CALL(Rename)
  RINGFENCE_FUZZ_CALL(SetAttr)
  RINGFENCE_FUZZ_CALL(GetXattr)
  RINGFENCE_FUZZ_CALL(ListXattr)
  RINGFENCE_FUZZ_CALL(SetXattr)
  RINGFENCE_FUZZ_CALL(RemoveXattr)
  RINGFENCE_FUZZ_CALL(Sync)

 private:
  using Ino = uint64_t;
  struct Object {
    uint32_t mode = 0;
    uint64_t nlink = 1;
    std::string target{};
    std::map<std::string, Ino> entries{};
    std::map<std::string, std::string> xattrs{};
    UniqueFd data{};
  };

  template <typename Request, typename Reply>
  grpc::Status Answer(const Request& request, Reply* reply);

  // --- the tree ---
  Ino MakeObject(uint32_t mode, std::string target = "");
  Ino AddObject(Ino directory, const std::string& name, uint32_t mode, std::string target = "");
  // 0: no such node.
  Ino InoOf(uint64_t node) const;
  Object* Find(uint64_t node);
  // 0: not there.
  Ino Child(Ino directory, const std::string& name);
  void Describe(Ino ino, wire::Attributes* attr);
  void Hand(Ino ino, wire::Node* node);
  void List(Ino directory, size_t from, bool names_only,
            google::protobuf::RepeatedPtrField<wire::DirectoryEntry>* entries);
  void DropName(Ino directory, const std::string& name);
  int DataOf(Object* object);

  // --- lies ---
  void Donate(uint64_t donation, int fd);
  UniqueFd AnyFd();
  void Lie(wire::Time* time);
  void Lie(wire::Attributes* attr);
  void Lie(wire::Node* node);
  void Lie(wire::DirectoryEntry* entry);
  void Lie(google::protobuf::RepeatedPtrField<wire::DirectoryEntry>* entries);
  void Lie(wire::AttachReply* reply) { Lie(reply->mutable_root()); }
  void Lie(wire::WalkReply* reply);
  void Lie(wire::GetAttrReply* reply) { Lie(reply->mutable_attr()); }
  void Lie(wire::ReadLinkReply* reply) { reply->set_target(AnyText()); }
  void Lie(wire::OpenReply* reply) { Lie(reply->mutable_attr()); }
  void Lie(wire::ReadDirReply* reply);
  void Lie(wire::ReadTreeReply* reply);
  void Lie(wire::StatFsReply* reply);
  void Lie(wire::CloseReply*) {}
  void Lie(wire::MakeReply* reply);
  void Lie(wire::LinkReply* reply);
  void Lie(wire::UnlinkReply* reply) { Lie(reply->mutable_directory()); }
  void Lie(wire::RenameReply* reply);
  void Lie(wire::SetAttrReply* reply) { Lie(reply->mutable_attr()); }
  void Lie(wire::GetXattrReply* reply) { reply->set_value(AnyText()); }
  void Lie(wire::ListXattrReply* reply);
  void Lie(wire::SetXattrReply*) {}
  void Lie(wire::RemoveXattrReply*) {}
  void Lie(wire::SyncReply*) {}
  std::string AnyText();
  int32_t AnyError();

  Choices answers_;
  gofer::FdSender donations_;
  bool lies_about_fds_ = false;  // in the answer being made
  std::map<Ino, Object> objects_;
  std::map<uint64_t, Ino> nodes_;
  Ino next_ino_ = 1;
  uint64_t next_node_ = 1;
};

#undef RINGFENCE_FUZZ_CALL

}  // namespace ringfence::fuzz

#endif  // RINGFENCE_TEST_FUZZ_HOSTILE_GOFER_H_
