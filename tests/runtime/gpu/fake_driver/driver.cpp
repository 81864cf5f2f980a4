// The part of CUDA's driver that DMN calls, in the host's memory: cuda.core and cuda.bindings themselves run over
// it, so the forms of all calls are proven without a GPU. Nothing is done before a stream is synchronised.
//
// Kernels are those of the shim, a library whose path DMN_FAKE_KERNELS gives. DMN_FAKE_BYTES: of the GPU's memory.
#include <cuda.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

using Work = std::function<void()>;

struct CUstream_st {
  std::deque<Work> work;
  std::vector<Work>* captured = nullptr;
};
struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};
struct CUevent_st {
  bool passed = false;
  float time_ms = 0;
};
struct CUmod_st {};
struct CUfunc_st {
  std::string name, letters;
};
struct CUctx_st {};

static std::recursive_mutex lock;
static std::map<CUdeviceptr, size_t> memory;
static CUctx_st primary;
static thread_local CUcontext current = nullptr;
static float clock_ms = 0;
static bool started = false;

#define GUARD                                              \
  std::lock_guard<std::recursive_mutex> guard(lock);       \
  if (!started) return CUDA_ERROR_NOT_INITIALIZED;         \
  if (current == nullptr) return CUDA_ERROR_INVALID_CONTEXT;

template <class F>
static F shim(const char* name) {
  static void* library = dlopen(getenv("DMN_FAKE_KERNELS"), RTLD_NOW);
  return reinterpret_cast<F>(dlsym(library, name));
}

static size_t most_bytes() {
  const char* told = getenv("DMN_FAKE_BYTES");
  return told ? strtoull(told, nullptr, 10) : size_t{1} << 30;
}

static size_t taken_bytes() {
  size_t sum = 0;
  for (auto& each : memory) sum += each.second;
  return sum;
}

static CUresult put(CUstream stream, Work work) {
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;  // DMN never uses the default stream
  if (stream->captured)
    stream->captured->push_back(work);
  else
    stream->work.push_back(work);
  return CUDA_SUCCESS;
}

static bool is_inside(CUdeviceptr address, size_t bytes) {
  auto after = memory.upper_bound(address);
  if (after == memory.begin()) return false;
  auto found = std::prev(after);
  return address + bytes <= found->first + found->second;
}

struct Told {
  const char *name, *text;
};

static Told told(CUresult error) {
  switch (error) {
    case CUDA_ERROR_INVALID_VALUE: return {"CUDA_ERROR_INVALID_VALUE", "invalid argument"};
    case CUDA_ERROR_OUT_OF_MEMORY: return {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"};
    case CUDA_ERROR_NO_DEVICE: return {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"};
    case CUDA_ERROR_INVALID_IMAGE: return {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"};
    case CUDA_ERROR_INVALID_CONTEXT: return {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"};
    case CUDA_ERROR_NOT_FOUND: return {"CUDA_ERROR_NOT_FOUND", "named symbol not found"};
    case CUDA_ERROR_NOT_READY: return {"CUDA_ERROR_NOT_READY", "device not ready"};
    default: return {"CUDA_ERROR_UNKNOWN", "unknown error"};
  }
}

extern "C" {

// ---- the GPU

CUresult cuInit(unsigned flags) {
  if (getenv("DMN_FAKE_ABSENT")) return CUDA_ERROR_NO_DEVICE;
  started = true;
  return flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuDriverGetVersion(int* version) { return *version = 13000, CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int* count) { return *count = 1, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  return ordinal == 0 ? (*device = 0, CUDA_SUCCESS) : CUDA_ERROR_INVALID_DEVICE;
}
CUresult cuDeviceGetName(char* name, int room, CUdevice) {
  return strncpy(name, "Fake GPU", room), CUDA_SUCCESS;
}
CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice) {
  for (int i = 0; i < 16; ++i) uuid->bytes[i] = static_cast<char>(0xf0 + i);
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? 8
           : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? 6
                                                                       : 0;
  return CUDA_SUCCESS;
}
CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice) {
  return *major = 8, *minor = 6, CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) { return *context = &primary, CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext context) { return current = context, CUDA_SUCCESS; }
CUresult cuCtxGetCurrent(CUcontext* context) { return *context = current, CUDA_SUCCESS; }
CUresult cuCtxGetDevice(CUdevice* device) {
  return current ? (*device = 0, CUDA_SUCCESS) : CUDA_ERROR_INVALID_CONTEXT;
}
CUresult cuCtxPushCurrent_v2(CUcontext context) { return current = context, CUDA_SUCCESS; }
CUresult cuCtxPopCurrent_v2(CUcontext* context) {
  return *context = current, current = nullptr, CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult error, const char** name) { return *name = told(error).name, CUDA_SUCCESS; }
CUresult cuGetErrorString(CUresult error, const char** text) { return *text = told(error).text, CUDA_SUCCESS; }

// ---- memory

CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
  GUARD;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (taken_bytes() + bytes > most_bytes()) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = reinterpret_cast<CUdeviceptr>(aligned_alloc(512, (bytes + 511) / 512 * 512));
  memory[*address] = bytes;
  return CUDA_SUCCESS;
}
CUresult cuMemFree_v2(CUdeviceptr address) {
  GUARD;
  if (!memory.erase(address)) return CUDA_ERROR_INVALID_VALUE;
  free(reinterpret_cast<void*>(address));
  return CUDA_SUCCESS;
}
CUresult cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  GUARD;
  *address = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *address ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemFreeHost(void* address) {
  GUARD;
  return free(address), CUDA_SUCCESS;
}
CUresult cuMemGetInfo_v2(size_t* available, size_t* total) {
  GUARD;
  *total = most_bytes();
  *available = *total - taken_bytes();
  return CUDA_SUCCESS;
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void* source, size_t bytes, CUstream stream) {
  GUARD;
  if (!is_inside(target, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return put(stream, [=] { memcpy(reinterpret_cast<void*>(target), source, bytes); });
}
CUresult cuMemcpyDtoHAsync_v2(void* target, CUdeviceptr source, size_t bytes, CUstream stream) {
  GUARD;
  if (!is_inside(source, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return put(stream, [=] { memcpy(target, reinterpret_cast<void*>(source), bytes); });
}

// ---- streams

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
  GUARD;
  if (flags != CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
  return *stream = new CUstream_st, CUDA_SUCCESS;
}
CUresult cuStreamDestroy_v2(CUstream stream) {
  GUARD;
  return delete stream, CUDA_SUCCESS;
}
CUresult cuStreamSynchronize(CUstream stream) {
  GUARD;
  if (stream->captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  while (!stream->work.empty()) {
    Work work = stream->work.front();
    stream->work.pop_front();
    work();
    clock_ms += 1;
  }
  return CUDA_SUCCESS;
}

// ---- kernels

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  GUARD;
  static const unsigned char magic[] = {0x50, 0xed, 0x55, 0xba};
  if (memcmp(image, magic, 4) != 0) return CUDA_ERROR_INVALID_IMAGE;
  return *module = new CUmod_st, CUDA_SUCCESS;
}
CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, CUjit_option*, void** values) {
  values[1] = values[3] = nullptr;  // the lengths of pycuda's two logs
  return cuModuleLoadData(module, image);
}
CUresult cuModuleUnload(CUmodule module) {
  GUARD;
  return delete module, CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  GUARD;
  std::string letters = shim<const char* (*)(const char*)>("shim_signature")(name);
  if (letters.empty()) return CUDA_ERROR_NOT_FOUND;
  return *function = new CUfunc_st{name, letters}, CUDA_SUCCESS;
}
CUresult cuFuncSetBlockShape(CUfunction, int, int, int) { return CUDA_SUCCESS; }
CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned, CUstream stream, void** parameters, void** extra) {
  GUARD;
  if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024) return CUDA_ERROR_INVALID_VALUE;
  std::vector<char> packed;
  std::vector<size_t> places;
  const char* buffer = extra ? static_cast<const char*>(extra[1]) : nullptr;
  for (size_t i = 0, place = 0; i < function->letters.size(); ++i) {
    const size_t bytes = function->letters[i] == 'i' || function->letters[i] == 'f' ? 4 : 8;
    place = (place + bytes - 1) / bytes * bytes;
    packed.resize(place + bytes);
    memcpy(packed.data() + place, buffer ? buffer + place : parameters[i], bytes);
    places.push_back(place);
    place += bytes;
  }
  if (buffer && *static_cast<size_t*>(extra[3]) != packed.size()) return CUDA_ERROR_INVALID_VALUE;
  const std::string name = function->name;
  return put(stream, [=]() mutable {
    std::vector<void*> arguments;
    for (size_t place : places) arguments.push_back(packed.data() + place);
    const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
    using Launch = void (*)(const char*, const unsigned*, const unsigned*, void**);
    shim<Launch>("shim_launch")(name.c_str(), grid, block, arguments.data());
  });
}

// ---- events

CUresult cuEventCreate(CUevent* event, unsigned flags) {
  GUARD;
  return flags == 0 ? (*event = new CUevent_st, CUDA_SUCCESS) : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuEventDestroy_v2(CUevent event) {
  GUARD;
  return delete event, CUDA_SUCCESS;
}
CUresult cuEventRecord(CUevent event, CUstream stream) {
  GUARD;
  return put(stream, [=] { event->passed = true, event->time_ms = clock_ms; });
}
CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent first, CUevent second) {
  GUARD;
  if (!first->passed || !second->passed) return CUDA_ERROR_NOT_READY;
  return *milliseconds = second->time_ms - first->time_ms, CUDA_SUCCESS;
}

// ---- graphs

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  GUARD;
  if (stream->captured || mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) return CUDA_ERROR_INVALID_VALUE;
  return stream->captured = new std::vector<Work>, CUDA_SUCCESS;
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  GUARD;
  if (!stream->captured) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  *graph = new CUgraph_st{*stream->captured};
  delete stream->captured;
  return stream->captured = nullptr, CUDA_SUCCESS;
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long flags) {
  GUARD;
  return flags == 0 ? (*executable = new CUgraphExec_st{graph->work}, CUDA_SUCCESS) : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuGraphDestroy(CUgraph graph) { return delete graph, CUDA_SUCCESS; }
CUresult cuGraphExecDestroy(CUgraphExec executable) { return delete executable, CUDA_SUCCESS; }
CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  GUARD;
  for (auto& work : executable->work) put(stream, work);
  return CUDA_SUCCESS;
}

// ---- how cuda.bindings finds all this

CUresult cuGetProcAddress_v2(const char* symbol, void** function, int, cuuint64_t, CUdriverProcAddressQueryResult* how) {
  static void* self = [] {
    Dl_info about;
    dladdr(reinterpret_cast<void*>(&cuGetProcAddress_v2), &about);
    return dlopen(about.dli_fname, RTLD_NOW);
  }();
  *function = dlsym(self, (std::string(symbol) + "_v2").c_str());
  if (!*function) *function = dlsym(self, symbol);
  if (how) *how = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

}  // extern "C"
