#include "runtime/sandbox/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace ringfence::runtime {
namespace {

constexpr off_t kMaxFile = 8 << 20;
constexpr size_t kMaxOfOne = 1 << 20;

std::string Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts;
  char text[32];
  gmtime_r(&now.tv_sec, &parts);
  const size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text, n);
}

void MakeParents(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != path.npos; slash = path.find('/', slash + 1)) {
    mkdir(path.substr(0, slash).c_str(), 0700);
  }
}

}  // namespace

void LogFile::Open() {
  if (path_.empty()) return;
  MakeParents(path_);
  struct stat st;
  if (stat(path_.c_str(), &st) == 0 && st.st_size > kMaxFile) {
    rename(path_.c_str(), (path_ + ".1").c_str());
  }
  fd_.Reset(
      open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0600));
}

void LogFile::Write(std::string_view line) {
  if (!tried_) Open();
  tried_ = true;
  if (!fd_.valid() || written_ > kMaxOfOne) return;
  const std::string text = absl::StrCat(Now(), " ", id_, " ", std::string(line), "\n");
  written_ += text.size();
  (void)!write(fd_.get(), text.data(), text.size());
  if (written_ > kMaxOfOne) {
    constexpr char kEnough[] = "further lines of this sandbox are left out\n";
    (void)!write(fd_.get(), kEnough, sizeof(kEnough) - 1);
  }
}

}  // namespace ringfence::runtime
