// The longer texts of /proc/PID, as functions of a snapshot. Formats: proc(5).
#ifndef RINGFENCE_SENTRY_FS_PROC_PROCESS_TEXT_H_
#define RINGFENCE_SENTRY_FS_PROC_PROCESS_TEXT_H_

#include <string>

#include "sentry/fs/proc/proc_source.h"

namespace ringfence::sentry {

std::string ProcessStat(const TaskSnapshot& task, const ProcSource& source);
std::string ProcessStatm(const TaskSnapshot& task, const ProcSource& source);
std::string ProcessStatus(const TaskSnapshot& task, const ProcSource& source);
std::string ProcessMaps(const TaskSnapshot& task, const ProcSource& source);
std::string ProcessSmaps(const TaskSnapshot& task, const ProcSource& source);
std::string ProcessSmapsRollup(const TaskSnapshot& task, const ProcSource& source);
std::string ProcessNumaMaps(const TaskSnapshot& task, const ProcSource& source);
std::string ProcessIo(const TaskSnapshot& task, const ProcSource& source);
std::string ProcessOomScore(const TaskSnapshot& task, const ProcSource& source);
std::string ProcessLimits(const TaskSnapshot& task, const ProcSource& source);

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_FS_PROC_PROCESS_TEXT_H_
