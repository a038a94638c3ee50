#include "sentry/fs/sys/sys.h"

#include "sentry/fs/sys/sys_rows.h"

namespace ringfence::sentry {
namespace {

constexpr uint64_t kSysMagic = 0x62656572;  // statfs(2)

const std::vector<ProcRow>& NoRows() {
  static const std::vector<ProcRow> rows;
  return rows;
}

const std::vector<ProcRow>& LoopbackRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("addr_len", 0444, FixedText("6\n")),
      TextRow("address", 0444, FixedText("00:00:00:00:00:00\n")),
      TextRow("broadcast", 0444, FixedText("00:00:00:00:00:00\n")),
      TextRow("carrier", 0444, FixedText("1\n")),
      TextRow("flags", 0444, FixedText("0x9\n")),
      TextRow("ifindex", 0444, FixedText("1\n")),
      TextRow("iflink", 0444, FixedText("1\n")),
      TextRow("mtu", 0444, FixedText("65536\n")),
      TextRow("operstate", 0444, FixedText("unknown\n")),
      TextRow("tx_queue_len", 0444, FixedText("1000\n")),
      TextRow("type", 0444, FixedText("772\n")),  // ARPHRD_LOOPBACK
  };
  return rows;
}

const std::vector<ProcRow>& VirtualNetRows() {
  static const std::vector<ProcRow> rows = {TableRow("lo", &LoopbackRows())};
  return rows;
}

const std::vector<ProcRow>& VirtualRows() {
  static const std::vector<ProcRow> rows = {TableRow("net", &VirtualNetRows())};
  return rows;
}

const std::vector<ProcRow>& DevicesRows() {
  static const std::vector<ProcRow> rows = {
      TableRow("system", &SysSystemRows()),
      TableRow("virtual", &VirtualRows()),
  };
  return rows;
}

const std::vector<ProcRow>& NetRows() {
  static const std::vector<ProcRow> rows = {
      LinkRow("lo",
              [](const CallContext&, const ProcPlace&) -> Result<std::string> {
                return std::string("../../devices/virtual/net/lo");
              }),
  };
  return rows;
}

const std::vector<ProcRow>& ClassRows() {
  static const std::vector<ProcRow> rows = {
      TableRow("block", &NoRows()),
      TableRow("net", &NetRows()),
  };
  return rows;
}

const std::vector<ProcRow>& DevRows() {
  static const std::vector<ProcRow> rows = {
      TableRow("block", &NoRows()),
      TableRow("char", &NoRows()),
  };
  return rows;
}

const std::vector<ProcRow>& FsRows() {
  static const std::vector<ProcRow> rows = {TableRow("cgroup", &NoRows())};
  return rows;
}

// Huge pages come by themselves where the memory of the host has them; nothing is to be asked for.
const std::vector<ProcRow>& HugePageRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("defrag", 0444, FixedText("always defer defer+madvise [madvise] never\n")),
      TextRow("enabled", 0444, FixedText("always [madvise] never\n")),
      TextRow("hpage_pmd_size", 0444, FixedText("2097152\n")),
      TextRow("shmem_enabled", 0444, FixedText("always within_size advise [never] deny force\n")),
      TextRow("use_zero_page", 0444, FixedText("1\n")),
  };
  return rows;
}

const std::vector<ProcRow>& MmRows() {
  static const std::vector<ProcRow> rows = {
      TableRow("hugepages", &NoRows()),
      TableRow("transparent_hugepage", &HugePageRows()),
  };
  return rows;
}

const std::vector<ProcRow>& KernelRows() {
  static const std::vector<ProcRow> rows = {TableRow("mm", &MmRows())};
  return rows;
}

const std::vector<ProcRow>& RootRows() {
  static const std::vector<ProcRow> rows = {
      TableRow("block", &NoRows()),        TableRow("bus", &NoRows()),
      TableRow("class", &ClassRows()),     TableRow("dev", &DevRows()),
      TableRow("devices", &DevicesRows()), TableRow("firmware", &NoRows()),
      TableRow("fs", &FsRows()),           TableRow("kernel", &KernelRows()),
      TableRow("module", &NoRows()),       TableRow("power", &NoRows()),
  };
  return rows;
}

class SysFs final : public FileSystem {
 public:
  explicit SysFs(const ProcSource* source)
      : root_(std::make_shared<ProcTableDirectory>(ProcPlace{this, source}, &RootRows())) {}
  std::string_view type() const override { return "sysfs"; }
  InodeRef root() override { return root_; }
  Result<FsAttributes> StatFs(const CallContext&) override {
    FsAttributes attributes;
    attributes.type = kSysMagic;
    return attributes;
  }

 private:
  const InodeRef root_;
};

}  // namespace

std::shared_ptr<FileSystem> MakeSysFs(const ProcSource* source) {
  return std::make_shared<SysFs>(source);
}

}  // namespace ringfence::sentry
