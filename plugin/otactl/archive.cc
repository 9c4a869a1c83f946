// See archive.h. The format is POSIX.1-2001 "ustar": blocks of 512 bytes, numbers in octal text.
#include "otactl/archive.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <vector>

namespace ota::otactl {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::size_t kBlock = 512;
constexpr std::size_t kChunk = std::size_t{256} * 1024;
constexpr std::int64_t kMaxBytes = 077777777777;  // what the size field holds

// Places of the fields in a header.
constexpr std::size_t kName = 0, kMode = 100, kUid = 108, kGid = 116, kSize = 124, kTime = 136,
                      kSum = 148, kType = 156, kMagic = 257;
constexpr std::size_t kNameLength = 100, kSizeLength = 12, kSumLength = 8;

using Header = std::array<char, kBlock>;

void PutOctal(Header& header, std::size_t at, std::size_t length, std::int64_t value) {
  for (std::size_t i = length - 1; i-- > 0; value >>= 3) {
    header[at + i] = static_cast<char>('0' + (value & 7));
  }
}

// Gives -1 for what is no number.
std::int64_t GetOctal(const Header& header, std::size_t at, std::size_t length) {
  const char* begin = header.data() + at;
  const char* end =
      std::find_if(begin, begin + length, [](char c) { return c == '\0' || c == ' '; });
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value, 8);
  return error == std::errc{} && stop == end && value >= 0 ? value : -1;
}

// Sum of all bytes, with the sum's own field as spaces.
std::int64_t Sum(Header header) {
  std::fill_n(header.begin() + kSum, kSumLength, ' ');
  std::int64_t sum = 0;
  for (const char c : header) {
    sum += static_cast<unsigned char>(c);
  }
  return sum;
}

core::Result<std::string> MakeHeader(const std::string& name, std::int64_t bytes) {
  if (name.size() >= kNameLength || bytes > kMaxBytes) {
    return Fail(ErrorCode::kUnsupported, "backup: '" + name + "' is too large for the archive");
  }
  Header header{};
  name.copy(header.data() + kName, kNameLength);
  PutOctal(header, kMode, 8, 0600);
  PutOctal(header, kUid, 8, 0);
  PutOctal(header, kGid, 8, 0);
  PutOctal(header, kSize, kSizeLength, bytes);
  PutOctal(header, kTime, 12, 0);
  header[kType] = '0';
  std::memcpy(header.data() + kMagic, "ustar\00000", 8);
  PutOctal(header, kSum, kSumLength - 1, Sum(header));
  header[kSum + kSumLength - 1] = ' ';
  return std::string(header.data(), header.size());
}

std::size_t Padding(std::int64_t bytes) {
  return static_cast<std::size_t>((512 - bytes % 512) % 512);
}

core::Error ReadError(const std::string& what, ssize_t got) {
  return got == 0
             ? core::Error{ErrorCode::kCorruption, what + ": is cut off"}
             : core::Error{ErrorCode::kUnavailable,
                           what + ": cannot be read: " + std::generic_category().message(errno)};
}

// Gives pieces of [offset, offset + bytes) of `fd` to `take`.
core::Result<void> Pieces(int fd, std::int64_t offset, std::int64_t bytes, const std::string& what,
                          const std::function<core::Result<void>(std::string_view)>& take) {
  std::vector<char> buffer(kChunk);
  while (bytes > 0) {
    const auto want = static_cast<std::size_t>(std::min<std::int64_t>(bytes, kChunk));
    const ssize_t got = pread(fd, buffer.data(), want, offset);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return tl::unexpected(ReadError(what, got));
    }
    if (auto taken = take({buffer.data(), static_cast<std::size_t>(got)}); !taken) {
      return taken;
    }
    offset += got;
    bytes -= got;
  }
  return {};
}

}  // namespace

core::Result<void> AppendFile(package::NewFile& archive, const std::string& name, int fd,
                              std::int64_t bytes) {
  auto header = MakeHeader(name, bytes);
  if (!header) {
    return tl::unexpected(header.error());
  }
  if (auto written = archive.Write(*header); !written) {
    return written;
  }
  auto copied = Pieces(fd, 0, bytes, "backup: '" + name + "'",
                       [&](std::string_view piece) { return archive.Write(piece); });
  return copied ? archive.Write(std::string(Padding(bytes), '\0')) : copied;
}

core::Result<void> AppendText(package::NewFile& archive, const std::string& name,
                              std::string_view text) {
  const auto bytes = static_cast<std::int64_t>(text.size());
  auto header = MakeHeader(name, bytes);
  if (!header) {
    return tl::unexpected(header.error());
  }
  return archive.Write(*header + std::string(text) + std::string(Padding(bytes), '\0'));
}

core::Result<void> AppendEnd(package::NewFile& archive) {
  return archive.Write(std::string(2 * kBlock, '\0'));
}

core::Result<void> ReadArchive(int fd, const std::string& path,
                               const std::function<core::Result<void>(const Entry&)>& each) {
  const std::string what = "backup '" + path + "'";
  std::int64_t at = 0;
  while (true) {
    std::string bytes;
    auto read = Pieces(fd, at, kBlock, what, [&](std::string_view piece) -> core::Result<void> {
      bytes += piece;
      return {};
    });
    if (!read) {
      return read;
    }
    Header header{};
    bytes.copy(header.data(), header.size());
    if (header == Header{}) {
      return {};
    }
    at += static_cast<std::int64_t>(kBlock);
    const char* name = header.data() + kName;
    const Entry entry{std::string(name, std::find(name, name + kNameLength, '\0')), at,
                      GetOctal(header, kSize, kSizeLength)};
    if (std::memcmp(header.data() + kMagic, "ustar", 5) != 0 ||
        GetOctal(header, kSum, kSumLength) != Sum(header) || entry.bytes < 0 ||
        header[kType] != '0') {
      return Fail(ErrorCode::kCorruption, what + ": is not a backup, or is damaged");
    }
    if (auto done = each(entry); !done) {
      return done;
    }
    at += entry.bytes + static_cast<std::int64_t>(Padding(entry.bytes));
  }
}

core::Result<std::string> ReadEntry(int fd, const Entry& entry, std::int64_t limit) {
  if (entry.bytes > limit) {
    return Fail(ErrorCode::kCorruption, "backup: '" + entry.name + "' is too long");
  }
  std::string text;
  auto read = Pieces(fd, entry.offset, entry.bytes, "backup: '" + entry.name + "'",
                     [&](std::string_view piece) -> core::Result<void> {
                       text += piece;
                       return {};
                     });
  if (!read) {
    return tl::unexpected(read.error());
  }
  return text;
}

core::Result<void> CopyEntry(int fd, const Entry& entry, int to) {
  return Pieces(fd, entry.offset, entry.bytes, "backup: '" + entry.name + "'",
                [&](std::string_view piece) -> core::Result<void> {
                  while (!piece.empty()) {
                    const ssize_t put = write(to, piece.data(), piece.size());
                    if (put < 0 && errno != EINTR) {
                      return Fail(ErrorCode::kUnavailable,
                                  "backup: '" + entry.name + "' cannot be written: " +
                                      std::generic_category().message(errno));
                    }
                    piece.remove_prefix(put < 0 ? 0 : static_cast<std::size_t>(put));
                  }
                  return {};
                });
}

}  // namespace ota::otactl
