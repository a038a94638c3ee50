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

enum class Errno : int {
  kPERM = 1, kNOENT = 2, kSRCH = 3, kINTR = 4, kIO = 5, kNXIO = 6, k2BIG = 7, kNOEXEC = 8,
  kBADF = 9, kCHILD = 10, kAGAIN = 11, kNOMEM = 12, kACCES = 13, kFAULT = 14, kNOTBLK = 15,
  kBUSY = 16, kEXIST = 17, kXDEV = 18, kNODEV = 19, kNOTDIR = 20, kISDIR = 21, kINVAL = 22,
  kNFILE = 23, kMFILE = 24, kNOTTY = 25, kTXTBSY = 26, kFBIG = 27, kNOSPC = 28, kSPIPE = 29,
  kROFS = 30, kMLINK = 31, kPIPE = 32, kDOM = 33, kRANGE = 34, kDEADLK = 35, kNAMETOOLONG = 36,
  kNOLCK = 37, kNOSYS = 38, kNOTEMPTY = 39, kLOOP = 40, kNOMSG = 42, kNODATA = 61, kTIME = 62,
  kPROTO = 71, kBADMSG = 74, kOVERFLOW = 75, kILSEQ = 84, kUSERS = 87, kNOTSOCK = 88,
  kDESTADDRREQ = 89, kMSGSIZE = 90, kPROTOTYPE = 91, kNOPROTOOPT = 92, kPROTONOSUPPORT = 93,
  kSOCKTNOSUPPORT = 94, kOPNOTSUPP = 95, kPFNOSUPPORT = 96, kAFNOSUPPORT = 97, kADDRINUSE = 98,
  kADDRNOTAVAIL = 99, kNETDOWN = 100, kNETUNREACH = 101, kCONNABORTED = 103, kCONNRESET = 104,
  kNOBUFS = 105, kISCONN = 106, kNOTCONN = 107, kSHUTDOWN = 108, kTIMEDOUT = 110,
  kCONNREFUSED = 111, kHOSTDOWN = 112, kHOSTUNREACH = 113, kALREADY = 114, kINPROGRESS = 115,
  kSTALE = 116, kDQUOT = 122, kCANCELED = 125, kOWNERDEAD = 130, kNOTRECOVERABLE = 131,
  // Never reach the guest: how an interrupted call asks to be restarted (include/linux/errno.h).
  kRESTARTSYS = 512, kRESTARTNOINTR = 513, kRESTARTNOHAND = 514, kRESTART_RESTARTBLOCK = 516,
  // Never reaches the guest: the handler would block and runs on a service thread; nothing has
  // been done yet and the task's own thread must run the call.
  kWOULDBLOCK_RETRY_ON_TASK = 600,
};

// The host's errno (positive) as an Errno.
constexpr Errno FromHostErrno(int host_errno) { return static_cast<Errno>(host_errno); }
inline Errno LastHostErrno() { return FromHostErrno(errno); }

// "ENOENT" and so on; "E?<n>" is never produced: unknown values give "EUNKNOWN".
std::string_view ErrnoName(Errno e);

}  // namespace ringfence

#endif  // RINGFENCE_PLATFORM_BASE_ERRNO_H_
