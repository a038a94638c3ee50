// C++ exceptions through several frames, with destructors, rethrow, threads and containers.
#include <cstdio>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Counted {
  static int live;
  Counted() { ++live; }
  Counted(const Counted&) { ++live; }
  ~Counted() { --live; }
};
int Counted::live = 0;

int Deep(int depth) {
  Counted here;
  if (depth == 0) throw std::out_of_range("bottom");
  return Deep(depth - 1) + 1;
}

std::string Translate(int depth) {
  try {
    return std::to_string(Deep(depth));
  } catch (const std::exception& e) {
    std::throw_with_nested(std::runtime_error("at " + std::to_string(depth)));
  }
}

std::string Describe(const std::exception& e) {
  std::string text = e.what();
  try {
    std::rethrow_if_nested(e);
  } catch (const std::exception& inner) {
    text += " <- " + Describe(inner);
  }
  return text;
}

}  // namespace

int main() {
  std::map<std::string, int> seen;
  for (int i = 0; i < 1000; i++) {
    try {
      Translate(i % 50);
    } catch (const std::exception& e) {
      seen[Describe(e)]++;
    }
  }
  std::printf("%zu kinds, live %d\n", seen.size(), Counted::live);
  for (const auto& [text, count] : seen) std::printf("%s: %d\n", text.c_str(), count);
  std::exception_ptr carried;
  std::thread([&carried] {
    try {
      std::vector<int>().at(3);
    } catch (...) {
      carried = std::current_exception();
    }
  }).join();
  try {
    std::rethrow_exception(carried);
  } catch (const std::out_of_range&) {
    std::puts("carried across threads");
  }
  try {
    std::string s(static_cast<size_t>(-2), 'x');
  } catch (const std::length_error&) {
    std::puts("length error");
  }
  return 5;
}
