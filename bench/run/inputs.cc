#include "bench/run/inputs.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "bench/run/oci.h"

namespace ringfence::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kTreeFiles = 24;
constexpr int kTreeLines = 150;

constexpr char kHead[] = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\n";

// "@" stands for the number of the function, so that no two are alike.
constexpr const char* kFunctions[] = {
    R"(struct node@ {
  struct node@ *next;
  unsigned key;
  char name[16 + @ % 48];
};

static struct node@ *insert@(struct node@ **head, unsigned key, const char *name) {
  struct node@ *n = malloc(sizeof(*n));
  if (n == NULL) return NULL;
  n->key = key * (2654435761u + @);
  snprintf(n->name, sizeof(n->name), "%s", name);
  while (*head != NULL && (*head)->key < n->key) head = &(*head)->next;
  n->next = *head;
  *head = n;
  return n;
}

unsigned list@(unsigned count) {
  struct node@ *head = NULL;
  unsigned sum = 0;
  for (unsigned i = 0; i < count; i++) insert@(&head, i ^ @, "name");
  while (head != NULL) {
    struct node@ *next = head->next;
    sum = sum * 31 + head->key + (unsigned)strlen(head->name);
    free(head);
    head = next;
  }
  return sum;
}

)",
    R"(double matrix@(const double *a, const double *b, double *c, int n) {
  double trace = 0;
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) {
      double sum = 0;
      for (int k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
      c[i * n + j] = sum * @.5;
    }
    trace += c[i * n + i];
  }
  return trace;
}

)",
    R"(int parse@(const char *text, long *values, int limit) {
  int count = 0;
  while (*text != 0 && count < limit) {
    char *end = NULL;
    switch (*text) {
      case ' ':
      case '\t':
        text++;
        break;
      case '0' ... '9':
        values[count++] = strtol(text, &end, 2 + @ % 30);
        text = end == text ? text + 1 : end;
        break;
      case '#':
        while (*text != 0 && *text != '\n') text++;
        break;
      default:
        fprintf(stderr, "unexpected %c in %d\n", *text++, @);
    }
  }
  return count;
}

)",
    R"(void sort@(unsigned *v, int n) {
  for (int gap = n / 2; gap > 0; gap /= 2) {
    for (int i = gap; i < n; i++) {
      unsigned t = v[i];
      int j = i;
      for (; j >= gap && (v[j - gap] ^ @u) > (t ^ @u); j -= gap) v[j] = v[j - gap];
      v[j] = t;
    }
  }
}

)"};

int Lines(const std::string& text) {
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

absl::Status WriteText(const fs::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file.good() ? absl::OkStatus()
                     : absl::InternalError(absl::StrCat("cannot write ", path.string()));
}

// The tree to be built: a copy of `from`, or C files of ours.
absl::Status MakeTree(const fs::path& tree, const std::string& from) {
  std::error_code error;
  fs::create_directories(tree, error);
  if (!from.empty()) {
    fs::copy(from, tree, fs::copy_options::recursive, error);
    if (error) return absl::InternalError(absl::StrCat(from, ": ", error.message()));
  }
  for (int i = 0; from.empty() && i < kTreeFiles; i++) {
    absl::Status written =
        WriteText(tree / absl::StrCat("file", i, ".c"), SourceText(kTreeLines + 13 * i));
    if (!written.ok()) return written;
  }
  return WriteText(tree / "Makefile", MakefileText());
}

absl::Status WriteData(const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  std::vector<uint64_t> block(1 << 17);
  uint64_t x = 1;
  for (long done = 0; done < kDataBytes; done += static_cast<long>(block.size() * sizeof(x))) {
    for (uint64_t& word : block) word = x = x * 6364136223846793005u + 1442695040888963407u;
    file.write(reinterpret_cast<const char*>(block.data()),
               static_cast<std::streamsize>(block.size() * sizeof(x)));
  }
  file.close();
  return file.good() ? absl::OkStatus() : absl::InternalError("cannot write " + path);
}

}  // namespace

std::string SourceText(int lines) {
  std::string text = kHead;
  int have = Lines(text);
  for (size_t i = 0;; i++) {
    const std::string function =
        absl::StrReplaceAll(kFunctions[i % std::size(kFunctions)], {{"@", absl::StrCat(i)}});
    const int more = Lines(function);
    if (have + more > lines) break;
    text += function;
    have += more;
  }
  for (; have < lines; have++) absl::StrAppend(&text, "int last", have, " = ", have, ";\n");
  return text;
}

std::string MakefileText() {
  return R"(OBJECTS := $(patsubst %.c,%.o,$(sort $(shell find . -name '*.c')))
CFLAGS := -O1 -I.

tree.a: $(OBJECTS)
	ar rcs $@ $^

clean:
	rm -f tree.a $(OBJECTS)
)";
}

namespace {

absl::Status Fill(const Inputs& inputs, const Sources& sources) {
  std::error_code error;
  const fs::path top = inputs.directory;
  fs::create_directories(top / "state", error);
  if (error) return absl::InternalError(absl::StrCat(top.string(), ": ", error.message()));
  for (const auto& [from, to] :
       {std::pair{sources.guest, inputs.guest}, {sources.first, inputs.first}}) {
    fs::copy_file(from, to, error);
    if (error) return absl::InternalError(absl::StrCat(from, ": ", error.message()));
  }
  absl::Status done = WriteText(inputs.source, SourceText(2000));
  if (done.ok() && sources.data) done = WriteData(inputs.data);
  if (done.ok()) done = MakeTree(inputs.tree, sources.tree);
  if (done.ok()) done = MakeHostRoot(top / "root");
  // The work directory is bound into containers at its own path.
  fs::create_directories((top / "root") / top.relative_path(), error);
  return done;
}

}  // namespace

absl::StatusOr<Inputs> MakeInputs(const std::string& directory, const Sources& sources) {
  const fs::path top =
      fs::absolute(directory).lexically_normal() / absl::StrCat("ringfence-bench-", getpid());
  const Inputs inputs{
      top,          top / "guest", top / "first", top / "source.c", top / "source.o",
      top / "data", top / "tree"};
  const absl::Status filled = Fill(inputs, sources);
  if (filled.ok()) return inputs;
  RemoveInputs(inputs);
  return filled;
}

void RemoveInputs(const Inputs& inputs) {
  std::error_code error;
  fs::remove_all(inputs.directory, error);
}

}  // namespace ringfence::bench
