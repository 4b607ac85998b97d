// A stand-in for NVIDIA's driver: the memory of the device is that of the host, the kernels are
// those that g++ compiled. It keeps count of what is alive, knows which thread has a context, and
// fails on demand. Built as libcuda.so.1, under the real pycuda and cuda-python.
#include "host.cpp"

#include <dlfcn.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

enum {
  OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101,
  INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NOT_FOUND = 500, LAUNCH_OUT_OF_RESOURCES = 701,
  CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
};
typedef unsigned long long Address;
typedef std::vector<std::function<int()>> Graph;
struct Stream { std::shared_ptr<Graph> capturing; bool spoilt = false; };
struct Event { std::chrono::steady_clock::time_point at; };
struct Function { std::string name; int block = 0; };
struct Module { std::vector<std::unique_ptr<Function>> functions; };

static std::recursive_mutex mutex;
static std::mutex one_kernel;  // the fibres that stand in for threads are one block's at a time
static std::map<std::string, int> counts, failures;  // calls; calls until they fail
static std::map<std::string, int> statuses;
static std::map<Address, size_t> device, pinned;
static std::set<void*> streams, events, modules, graphs, executables;
static int retained = 0;
static bool initialised = false;
static thread_local std::vector<void*> stack;
static thread_local Stream* capturing_here = nullptr;
static char contexts[8];  // one for each GPU
static int gpus() {
  const char* said = getenv("FAKE_GPUS");
  return said ? atoi(said) : 1;
}

static int begun(const char* name, bool needs_context = true) {
  std::lock_guard<std::recursive_mutex> lock(mutex);
  ++counts[name];
  if (failures.count(name) && failures[name]-- <= 0) return statuses[name];
  if (!initialised) return NOT_INITIALIZED;
  if (needs_context && (stack.empty() || !retained)) return INVALID_CONTEXT;
  return OK;
}
#define ENTER if (int status = begun(__func__)) return status; std::lock_guard<std::recursive_mutex> lock(mutex)
#define ENTER_ANYWHERE if (int status = begun(__func__, false)) return status
#define NOT_WHILE_CAPTURING if (capturing_here) return capturing_here->spoilt = true, CAPTURE_UNSUPPORTED

static bool inside(Address address, size_t size) {
  for (auto* memory : {&device, &pinned}) {
    auto at = memory->upper_bound(address);
    if (at != memory->begin() && (--at, address + size <= at->first + at->second)) return true;
  }
  return false;
}

static int arguments_of(const std::string& name) {
  for (const auto& kernel : KERNELS)
    if (name == kernel.name) return kernel.arguments;
  return 0;
}

static int later(Stream* stream, std::function<int()> work) {
  if (!streams.count(stream)) return INVALID_VALUE;
  if (stream->capturing) return stream->capturing->push_back(std::move(work)), OK;
  return work();
}

extern "C" {
// --- for the tests ----------------------------------------------------------------------------
int fake_live() {
  return retained + device.size() + pinned.size() + streams.size() + events.size() +
         modules.size() + graphs.size() + executables.size();
}
int fake_depth() { return (int)stack.size(); }
int fake_calls(const char* name) { return counts[name]; }
// Every call fails from now on, but so many before; until told to work again.
void fake_fail(const char* name, int after, int status) { failures[name] = after, statuses[name] = status; }
void fake_work() { failures.clear(); }
// What could not be given back, because that was to fail.
void fake_forget() { device.clear(), pinned.clear(), streams.clear(); }

// --- device and context -----------------------------------------------------------------------
int cuInit(unsigned) {
  initialised = true;
  return begun(__func__, false);
}
int cuDriverGetVersion(int* version) { return *version = 12060, OK; }
int cuDeviceGetCount(int* count) { return *count = gpus(), OK; }
int cuDeviceGet(int* out, int ordinal) {
  ENTER_ANYWHERE;
  return ordinal < gpus() ? (*out = ordinal, OK) : INVALID_DEVICE;
}
int cuDeviceGetName(char* name, int size, int) { return snprintf(name, size, "Host standing in"), OK; }
int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = 8ull << 30, OK; }
int cuDeviceGetAttribute(int* value, int which, int ordinal) {
  ENTER_ANYWHERE;
  const char* shared = getenv("FAKE_INTEGRATED");
  *value = which == 75 ? 8 : which == 76 ? 7 + ordinal : which == 16 ? 16 : which == 18 ? shared != nullptr : 0;
  return OK;
}
int cuDevicePrimaryCtxRetain(void** out, int ordinal) {
  ENTER_ANYWHERE;
  std::lock_guard<std::recursive_mutex> lock(mutex);
  return ++retained, *out = contexts + ordinal, OK;
}
int cuDevicePrimaryCtxRelease_v2(int) {
  ENTER_ANYWHERE;
  std::lock_guard<std::recursive_mutex> lock(mutex);
  return retained ? (--retained, OK) : INVALID_CONTEXT;
}
int cuDevicePrimaryCtxRelease(int which) { return cuDevicePrimaryCtxRelease_v2(which); }
int cuCtxPushCurrent_v2(void* context) {
  ENTER_ANYWHERE;
  return retained ? (stack.push_back(context), OK) : INVALID_CONTEXT;
}
int cuCtxPopCurrent_v2(void** out) {
  if (stack.empty()) return INVALID_CONTEXT;
  return *out = stack.back(), stack.pop_back(), OK;
}
int cuCtxSynchronize() { ENTER; return OK; }
int cuCtxGetCurrent(void** out) { return *out = stack.empty() ? nullptr : stack.back(), OK; }
int cuCtxGetDevice(int* out) {
  return *out = stack.empty() ? 0 : (int)((char*)stack.back() - contexts), OK;
}

// --- memory -----------------------------------------------------------------------------------
static void* poisoned(size_t size) { return memset(aligned_alloc(256, (size + 255) / 256 * 256), 0xa5, size); }
int cuMemAlloc_v2(Address* out, size_t size) {
  ENTER;
  NOT_WHILE_CAPTURING;
  *out = (Address)poisoned(size);
  return device[*out] = size, OK;
}
int cuMemFree_v2(Address address) {
  ENTER;
  NOT_WHILE_CAPTURING;
  return device.erase(address) ? (free((void*)address), OK) : INVALID_VALUE;
}
int cuMemHostAlloc(void** out, size_t size, unsigned) {
  ENTER;
  NOT_WHILE_CAPTURING;
  *out = poisoned(size);
  return pinned[(Address)*out] = size, OK;
}
int cuMemFreeHost(void* address) {
  ENTER;
  return pinned.erase((Address)address) ? (free(address), OK) : INVALID_VALUE;
}
int cuMemHostGetDevicePointer_v2(Address* out, void* host, unsigned) {
  ENTER;
  return inside((Address)host, 1) ? (*out = (Address)host, OK) : INVALID_VALUE;
}
static int copy(Address target, Address source, size_t size, Address ours, Stream* stream) {
  if (!inside(ours, size)) return INVALID_VALUE;
  const char* way = ours == target ? "bytes up" : "bytes down";
  return later(stream, [=] {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    return counts[way] += size, memcpy((void*)target, (void*)source, size), OK;
  });
}
int cuMemcpyHtoDAsync_v2(Address target, const void* source, size_t size, Stream* stream) {
  ENTER;
  return copy(target, (Address)source, size, target, stream);
}
int cuMemcpyDtoHAsync_v2(void* target, Address source, size_t size, Stream* stream) {
  ENTER;
  return copy((Address)target, source, size, source, stream);
}

// --- streams and events -----------------------------------------------------------------------
int cuStreamCreate(Stream** out, unsigned flags) {
  ENTER;
  if (flags != 1) return INVALID_VALUE;  // one that waits for the default stream, as captures can't
  return *out = new Stream, streams.insert(*out), OK;
}
int cuStreamDestroy_v2(Stream* stream) {
  ENTER;
  return streams.erase(stream) ? (delete stream, OK) : INVALID_VALUE;
}
int cuStreamSynchronize(Stream* stream) {
  ENTER;
  if (stream->capturing) return stream->spoilt = true, CAPTURE_UNSUPPORTED;
  return streams.count(stream) ? OK : INVALID_VALUE;
}
int cuEventCreate(Event** out, unsigned) {
  ENTER;
  return *out = new Event, events.insert(*out), OK;
}
int cuEventDestroy_v2(Event* event) {
  ENTER;
  return events.erase(event) ? (delete event, OK) : INVALID_VALUE;
}
int cuEventRecord(Event* event, Stream* stream) {
  ENTER;
  return later(stream, [=] { return event->at = std::chrono::steady_clock::now(), OK; });
}
int cuEventSynchronize(Event*) { ENTER; return OK; }
int cuEventElapsedTime_v2(float* ms, Event* a, Event* b) {
  ENTER;
  return *ms = std::chrono::duration<float, std::milli>(b->at - a->at).count(), OK;
}
int cuEventElapsedTime(float* ms, Event* a, Event* b) { return cuEventElapsedTime_v2(ms, a, b); }

// --- kernels ----------------------------------------------------------------------------------
int cuModuleLoadData(Module** out, const void* image) {
  ENTER;
  if (strncmp((const char*)image, ".version", 8)) return INVALID_IMAGE;
  return *out = new Module, modules.insert(*out), OK;
}
int cuModuleLoadDataEx(Module** out, const void* image, unsigned count, int* options, void** values) {
  for (unsigned k = 0; k < count; ++k) {  // logs of information and of errors, and their sizes
    if (options[k] == 3 || options[k] == 5) *(char*)values[k] = 0;
    if (options[k] == 4 || options[k] == 6) values[k] = nullptr;
  }
  return cuModuleLoadData(out, image);
}
int cuModuleUnload(Module* module) {
  ENTER;
  return modules.erase(module) ? (delete module, OK) : INVALID_VALUE;
}
int cuModuleGetFunction(Function** out, Module* module, const char* name) {
  ENTER;
  for (const auto& kernel : KERNELS)
    if (!strcmp(kernel.name, name)) {
      module->functions.emplace_back(new Function{name});
      return *out = module->functions.back().get(), OK;
    }
  return NOT_FOUND;
}
int cuFuncSetBlockShape(Function*, int, int, int) { ENTER; return OK; }
int cuLaunchKernel(Function* function, unsigned gx, unsigned gy, unsigned, unsigned bx, unsigned,
                   unsigned, unsigned, Stream* stream, void** each, void** extra) {
  ENTER;
  if (bx != 512) return LAUNCH_OUT_OF_RESOURCES;  // as the PTX is compiled; ours has blocks of its own
  std::vector<void*> values(8);
  if (each)
    for (int k = 0; k < arguments_of(function->name); ++k) values[k] = *(void**)each[k];
  else  // a buffer, its address behind the first of three keys
    memcpy(values.data(), extra[1], *(size_t*)extra[3]);
  const std::string name = function->name;
  return later(stream, [=]() mutable {
    std::lock_guard<std::mutex> lock(one_kernel);
    return run(name.c_str(), gx, gy, values.data()) ? NOT_FOUND : OK;
  });
}
int cuLaunchHostFunc(Stream* stream, void (*work)(void*), void* data) {
  if (int status = begun(__func__)) return status;  // not locked: it may wait for another thread
  return later(stream, [=] { return work(data), OK; });
}

// --- graphs -----------------------------------------------------------------------------------
int cuStreamBeginCapture_v2(Stream* stream, int) {
  ENTER;
  if (stream->capturing) return INVALID_VALUE;
  stream->capturing = std::make_shared<Graph>(), stream->spoilt = false;
  return capturing_here = stream, OK;
}
int cuStreamEndCapture(Stream* stream, void** out) {
  ENTER;
  capturing_here = nullptr;
  std::shared_ptr<Graph> graph = std::move(stream->capturing);
  if (!graph || stream->spoilt) return *out = nullptr, CAPTURE_INVALIDATED;
  return *out = new Graph(*graph), graphs.insert(*out), OK;
}
int cuGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
  ENTER;
  return *out = new Graph(*(Graph*)graph), executables.insert(*out), OK;
}
int cuGraphDestroy(void* graph) {
  ENTER;
  return graphs.erase(graph) ? (delete (Graph*)graph, OK) : INVALID_VALUE;
}
int cuGraphExecDestroy(void* graph) {
  ENTER;
  return executables.erase(graph) ? (delete (Graph*)graph, OK) : INVALID_VALUE;
}
int cuGraphLaunch(void* graph, Stream* stream) {
  if (int status = begun(__func__)) return status;
  if (!executables.count(graph) || !streams.count(stream)) return INVALID_VALUE;
  for (auto& work : *(Graph*)graph)
    if (int status = work()) return status;
  return OK;
}

// --- words and addresses ----------------------------------------------------------------------
int cuGetErrorString(int status, const char** out) {
  static const std::map<int, const char*> TEXTS = {
      {OUT_OF_MEMORY, "out of memory"}, {INVALID_DEVICE, "invalid device ordinal"},
      {INVALID_IMAGE, "device kernel image is invalid"}, {INVALID_CONTEXT, "invalid device context"},
      {CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"},
      {CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"}};
  return *out = TEXTS.count(status) ? TEXTS.at(status) : "some error", OK;
}
int cuGetErrorName(int status, const char** out) { return cuGetErrorString(status, out); }
int cuGetProcAddress_v2(const char* name, void** out, int, unsigned long long, int* found) {
  static void* self = dlopen("libcuda.so.1", RTLD_LAZY);
  for (const char* suffix : {"_v2", ""})
    if ((*out = dlsym(self, (std::string(name) + suffix).c_str()))) return found ? *found = 0, OK : OK;
  return found ? *found = 1, NOT_FOUND : NOT_FOUND;
}
}
