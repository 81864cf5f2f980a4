// What tiles.cu needs of CUDA, on a CPU: one thread of a block after another, each a fiber of its own, so that
// __syncthreads() can hand over to the next. No race is ever seen here; compute-sanitizer sees them on a GPU.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __restrict__ __restrict

using std::max;
using std::min;

struct Index {
  unsigned x, y, z;
};

static thread_local Index threadIdx, blockIdx, blockDim, gridDim;

struct __half {
  _Float16 value;
};

static inline float __half2float(__half half) { return static_cast<float>(half.value); }

template <class T>
static inline T __ldg(const T* pointer) {
  return *pointer;
}

// glibc declares functions of these names for itself.
#define __expf cuda_expf
static inline float __expf(float value) { return std::exp(value); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float value) { return 1.0f / value; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }

// Rounded towards zero: exact in double for the magnitudes at hand, then stepped back where rounding went up.
static inline float __fadd_rz(float a, float b) {
  const double sum = static_cast<double>(a) + static_cast<double>(b);
  const float rounded = static_cast<float>(sum);
  return std::fabs(static_cast<double>(rounded)) > std::fabs(sum) ? std::nextafter(rounded, 0.0f) : rounded;
}

static inline uint32_t __float_as_uint(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

namespace shim {

// Packs that were read or written at an address that no pack has; a GPU would end the launch with an error.
static thread_local int misaligned;

}  // namespace shim

// What g++ -fsanitize=alignment calls; it is ours, so that no library is needed and the count can be asked for.
extern "C" void __ubsan_handle_type_mismatch_v1(void*, void*) { ++shim::misaligned; }

namespace shim {

constexpr size_t STACK_BYTES = 1 << 16;

// One thread of a block. It lives for a whole launch and runs the kernel once a block.
struct Fiber {
  ucontext_t first;
  jmp_buf place;
  bool begun = false, done = false;
  std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
};

struct Body {
  virtual void run() = 0;
  virtual ~Body() = default;
};

static thread_local Body* body;
static thread_local Fiber* running;
static thread_local jmp_buf scheduler;

// swapcontext asks the kernel for the signal mask at every switch; only the first entry needs it.
static inline void pause_fiber() {
  if (_setjmp(running->place) == 0) _longjmp(scheduler, 1);
}

static void fiber_main() {
  for (;;) {
    body->run();
    running->done = true;
    pause_fiber();
  }
}

static inline void resume(Fiber& fiber) {
  running = &fiber;
  if (_setjmp(scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.place, 1);
  fiber.begun = true;
  setcontext(&fiber.first);
}

static inline void run_block(std::vector<Fiber>& fibers) {
  for (Fiber& fiber : fibers) fiber.done = false;
  for (size_t left = fibers.size(); left > 0;) {
    for (unsigned i = 0; i < fibers.size(); ++i) {
      if (fibers[i].done) continue;
      threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
      resume(fibers[i]);
      left -= fibers[i].done;
    }
  }
}

static inline void launch_all(Body& kernel, const unsigned* grid, const unsigned* block) {
  body = &kernel;
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  std::vector<Fiber> fibers(static_cast<size_t>(block[0]) * block[1] * block[2]);
  for (Fiber& fiber : fibers) {
    getcontext(&fiber.first);
    fiber.first.uc_stack.ss_sp = fiber.stack.get();
    fiber.first.uc_stack.ss_size = STACK_BYTES;
    fiber.first.uc_link = nullptr;
    makecontext(&fiber.first, fiber_main, 0);
  }
  for (unsigned z = 0; z < grid[2]; ++z)
    for (unsigned y = 0; y < grid[1]; ++y)
      for (unsigned x = 0; x < grid[0]; ++x) {
        blockIdx = {x, y, z};
        run_block(fibers);
      }
}

}  // namespace shim

static inline void __syncthreads() { shim::pause_fiber(); }

namespace shim {

// The letter of an argument's type in a signature.
template <class T>
constexpr char letter() {
  if (std::is_pointer<T>::value) return 'p';
  if (std::is_same<T, int>::value) return 'i';
  if (std::is_same<T, long long>::value) return 'l';
  if (std::is_same<T, float>::value) return 'f';
  return '?';
}

template <class... A>
struct Call : Body {
  void (*kernel)(A...);
  void** arguments;
  Call(void (*kernel)(A...), void** arguments) : kernel(kernel), arguments(arguments) {}
  void run() override { apply(std::index_sequence_for<A...>{}); }
  template <size_t... I>
  void apply(std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
  }
};

template <class... A>
static void run(void (*kernel)(A...), void** arguments, const unsigned* grid, const unsigned* block) {
  Call<A...> call(kernel, arguments);
  launch_all(call, grid, block);
}

template <class... A>
static const char* signature(void (*)(A...)) {
  static const char letters[] = {letter<A>()..., '\0'};
  return letters;
}

}  // namespace shim
