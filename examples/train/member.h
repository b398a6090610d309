// One member process of the example: trains the character model and says what happens as lines of
// JSON on stdout:
//
//   {"type":"step","step":3,"loss":2.91,"members":6,...}
//   {"type":"notice","kind":"view","text":"view 4 {0,1,3} from step 17: node 2: ..."}
//   {"type":"result","digest":"8c21...","packets_lost":120,...}
#pragma once

#include "absl/status/status.h"
#include "examples/train/options.h"

namespace perigee {

absl::Status RunMember(const TrainOptions& options);

}  // namespace perigee
