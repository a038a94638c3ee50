// main for fuzz targets in a build without libFuzzer. With arguments: runs these files. Without:
// what is in the folder corpus/ beside the target (RINGFENCE_FUZZ_CORPUS, from the root), changed
// copies of it, and random bytes. The random numbers are the same in every run.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

constexpr int kRandomInputs = 3000;
constexpr size_t kMaxBytes = 600;
// A slow or loaded machine runs fewer of them.
constexpr auto kEnough = std::chrono::seconds(10);

Bytes ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void Run(const Bytes& bytes) { LLVMFuzzerTestOneInput(bytes.data(), bytes.size()); }

std::vector<Bytes> ReadCorpus() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(RINGFENCE_FUZZ_CORPUS)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> corpus;
  for (const auto& path : paths) corpus.push_back(ReadFile(path));
  return corpus;
}

Bytes RandomBytes(std::mt19937* random) {
  Bytes bytes((*random)() % kMaxBytes);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((*random)());
  return bytes;
}

Bytes Changed(Bytes bytes, std::mt19937* random) {
  for (uint32_t n = 1 + (*random)() % 8; n > 0 && !bytes.empty(); --n) {
    const size_t at = (*random)() % bytes.size();
    switch ((*random)() % 4) {
      case 0:
        bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at));
        break;
      case 1:
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(at), bytes[at]);
        break;
      default:
        bytes[at] = static_cast<uint8_t>((*random)());
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    for (int i = 1; i < argc; ++i) Run(ReadFile(argv[i]));
    return 0;
  }
  const std::vector<Bytes> corpus = ReadCorpus();
  if (corpus.empty()) {
    std::fprintf(stderr, "no corpus in %s: run this from the root\n", RINGFENCE_FUZZ_CORPUS);
    return 1;
  }
  for (const Bytes& bytes : corpus) Run(bytes);
  const auto begin = std::chrono::steady_clock::now();
  std::mt19937 random(1);
  int done = 0;
  for (; done < kRandomInputs && std::chrono::steady_clock::now() - begin < kEnough; ++done) {
    Run(done % 2 == 0 ? RandomBytes(&random) : Changed(corpus[random() % corpus.size()], &random));
  }
  std::printf("%zu inputs of the corpus, %d others\n", corpus.size(), done);
  return 0;
}
