// /proc/PID/net: what a network namespace shows that has a loopback interface, which nobody can
// send on, and unix sockets.
#include "sentry/fs/proc/proc_inode.h"

namespace ringfence::sentry {
namespace {

Result<std::string> UnixSockets(const CallContext&, const ProcPlace& place) {
  return place.source->UnixSockets();
}

constexpr char kDevices[] =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
    "fifo colls carrier compressed\n"
    "    lo:       0       0    0    0    0     0          0         0        0       0    0    0  "
    "  "
    "0     0       0          0\n";

// Tables that have nothing but their heading: there are no sockets of these families.
constexpr char kTcp[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode                                                     \n";
constexpr char kUdp[] =
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode ref pointer drops            \n";
constexpr char kRaw[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode ref pointer drops\n";
constexpr char kTcp6[] =
    "  sl  local_address                         remote_address                        st tx_queue "
    "rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
constexpr char kUdp6[] =
    "  sl  local_address                         remote_address                        st tx_queue "
    "rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
constexpr char kArp[] =
    "IP address       HW type     Flags       HW address            Mask     Device\n";
constexpr char kNetlink[] =
    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";
constexpr char kPacket[] = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n";

}  // namespace

const std::vector<ProcRow>& ProcNetRows() {
  static const std::vector<ProcRow> rows = {
      TextRow("arp", 0444, FixedText(kArp)),       TextRow("dev", 0444, FixedText(kDevices)),
      TextRow("if_inet6", 0444, FixedText("")),    TextRow("netlink", 0444, FixedText(kNetlink)),
      TextRow("packet", 0444, FixedText(kPacket)), TextRow("raw", 0444, FixedText(kRaw)),
      TextRow("raw6", 0444, FixedText(kUdp6)),     TextRow("route", 0444, FixedText("")),
      TextRow("tcp", 0444, FixedText(kTcp)),       TextRow("tcp6", 0444, FixedText(kTcp6)),
      TextRow("udp", 0444, FixedText(kUdp)),       TextRow("udp6", 0444, FixedText(kUdp6)),
      TextRow("unix", 0444, UnixSockets),
  };
  return rows;
}

}  // namespace ringfence::sentry
