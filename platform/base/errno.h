// Errno: the error numbers of the Linux ABI, as a type of their own.
//
// Values are those of asm-generic/errno-base.h and errno.h, which x86-64 and arm64 share, so an
// Errno goes to the guest as -static_cast<int>(e). Host errno values are the same numbers because
// the host is Linux; FromHostErrno() is the one place that says so.
#ifndef RINGFENCE_PLATFORM_BASE_ERRNO_H_
#define RINGFENCE_PLATFORM_BASE_ERRNO_H_

#include <cerrno>
#include <string_view>

namespace ringfence {

// X(name without E, value): what a guest may see. kNAME of the enum and "ENAME" of ErrnoName()
// come from this list.
// clang-format off
#define RINGFENCE_GUEST_ERRNOS(X) \
  X(PERM, 1) X(NOENT, 2) X(SRCH, 3) X(INTR, 4) X(IO, 5) X(NXIO, 6) X(2BIG, 7) X(NOEXEC, 8)         \
  X(BADF, 9) X(CHILD, 10) X(AGAIN, 11) X(NOMEM, 12) X(ACCES, 13) X(FAULT, 14) X(NOTBLK, 15)        \
  X(BUSY, 16) X(EXIST, 17) X(XDEV, 18) X(NODEV, 19) X(NOTDIR, 20) X(ISDIR, 21) X(INVAL, 22)        \
  X(NFILE, 23) X(MFILE, 24) X(NOTTY, 25) X(TXTBSY, 26) X(FBIG, 27) X(NOSPC, 28) X(SPIPE, 29)       \
  X(ROFS, 30) X(MLINK, 31) X(PIPE, 32) X(DOM, 33) X(RANGE, 34) X(DEADLK, 35) X(NAMETOOLONG, 36)    \
  X(NOLCK, 37) X(NOSYS, 38) X(NOTEMPTY, 39) X(LOOP, 40) X(NOMSG, 42) X(IDRM, 43) X(NOSTR, 60)      \
  X(NODATA, 61) X(TIME, 62) X(NOSR, 63) X(NONET, 64) X(NOLINK, 67) X(COMM, 70) X(PROTO, 71)        \
  X(MULTIHOP, 72) X(BADMSG, 74) X(OVERFLOW, 75) X(NOTUNIQ, 76) X(BADFD, 77) X(REMCHG, 78)          \
  X(LIBACC, 79) X(LIBBAD, 80) X(ILSEQ, 84) X(STRPIPE, 86) X(USERS, 87) X(NOTSOCK, 88)              \
  X(DESTADDRREQ, 89)                                                                               \
  X(MSGSIZE, 90) X(PROTOTYPE, 91) X(NOPROTOOPT, 92) X(PROTONOSUPPORT, 93) X(SOCKTNOSUPPORT, 94)    \
  X(OPNOTSUPP, 95) X(PFNOSUPPORT, 96) X(AFNOSUPPORT, 97) X(ADDRINUSE, 98) X(ADDRNOTAVAIL, 99)      \
  X(NETDOWN, 100) X(NETUNREACH, 101) X(NETRESET, 102) X(CONNABORTED, 103) X(CONNRESET, 104)        \
  X(NOBUFS, 105) X(ISCONN, 106) X(NOTCONN, 107) X(SHUTDOWN, 108) X(TOOMANYREFS, 109)               \
  X(TIMEDOUT, 110) X(CONNREFUSED, 111) X(HOSTDOWN, 112) X(HOSTUNREACH, 113) X(ALREADY, 114)        \
  X(INPROGRESS, 115) X(STALE, 116) X(UCLEAN, 117) X(NOTNAM, 118) X(NAVAIL, 119) X(ISNAM, 120)      \
  X(REMOTEIO, 121) X(DQUOT, 122) X(NOMEDIUM, 123) X(MEDIUMTYPE, 124) X(CANCELED, 125)              \
  X(NOKEY, 126) X(KEYEXPIRED, 127) X(KEYREVOKED, 128) X(KEYREJECTED, 129) X(OWNERDEAD, 130)        \
  X(NOTRECOVERABLE, 131) X(RFKILL, 132) X(HWPOISON, 133)

// Never reach the guest. ERESTART*: how an interrupted call asks to be restarted (Linux
// include/linux/errno.h). EWOULDBLOCK_RETRY_ON_TASK: the handler would block and runs on a service
// thread; nothing has been done yet and the task's own thread must run the call.
#define RINGFENCE_INTERNAL_ERRNOS(X) \
  X(RESTARTSYS, 512) X(RESTARTNOINTR, 513) X(RESTARTNOHAND, 514) X(RESTART_RESTARTBLOCK, 516)      \
  X(WOULDBLOCK_RETRY_ON_TASK, 600)
// clang-format on

enum class Errno : int {
#define RINGFENCE_ERRNO_ENUMERATOR(name, value) k##name = value,
  RINGFENCE_GUEST_ERRNOS(RINGFENCE_ERRNO_ENUMERATOR)
      RINGFENCE_INTERNAL_ERRNOS(RINGFENCE_ERRNO_ENUMERATOR)
#undef RINGFENCE_ERRNO_ENUMERATOR
};

// The host's errno (positive) as an Errno.
constexpr Errno FromHostErrno(int host_errno) { return static_cast<Errno>(host_errno); }
inline Errno LastHostErrno() { return FromHostErrno(errno); }

// "ENOENT" and so on; "EUNKNOWN" for values that are not in the list.
std::string_view ErrnoName(Errno e);

}  // namespace ringfence

#endif  // RINGFENCE_PLATFORM_BASE_ERRNO_H_
