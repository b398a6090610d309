// The version that members and the coordinator compare when they meet.
#pragma once

namespace perigee {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace perigee
