# shell: /bin/dash
# timeout: 300
cat > a.cc <<'C'
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
struct Failure : std::runtime_error { using runtime_error::runtime_error; };
static int Deep(int n) { if (n == 0) throw Failure("from the deep"); return Deep(n - 1) + 1; }
int main() {
  std::vector<std::thread> threads; std::atomic<int> caught{0};
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { for (int k = 0; k < 100; ++k) { try { Deep(50); } catch (const Failure&) { ++caught; } } });
  for (auto& t : threads) t.join();
  std::cout << caught << "\n";
  auto f = std::async(std::launch::async, [] { return Deep(3); });
  try { f.get(); } catch (const std::exception& e) { std::cout << e.what() << "\n"; }
  std::map<std::string, int> words; std::ifstream in("/usr/share/common-licenses/BSD"); std::string w;
  while (in >> w) ++words[w];
  std::cout << words.size() << " " << words["the"] << "\n";
  std::cout << std::regex_replace("a1b22c", std::regex("[0-9]+"), "#") << "\n";
  std::filesystem::create_directories("x/y"); std::ofstream("x/y/z") << "text";
  for (auto& e : std::filesystem::recursive_directory_iterator("x")) std::cout << e.path() << " " << e.is_directory() << "\n";
  try { std::filesystem::rename("nothing", "else"); } catch (const std::filesystem::filesystem_error& e) { std::cout << e.what() << "\n"; }
  std::cout << std::filesystem::remove_all("x") << std::endl;
  throw Failure("nobody catches this");
}
C
g++ -std=c++20 -O2 -Wall -o a a.cc && ./a 2>&1; echo "status $?"
